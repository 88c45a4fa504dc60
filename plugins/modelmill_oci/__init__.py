"""Container images and OCI artifacts: releases in registries, images, and files for orchestrators."""
