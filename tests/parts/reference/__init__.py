"""The tools that the tests compare with, and the real model that they run on; none of it is part of modelmill."""
