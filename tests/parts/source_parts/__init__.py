"""What the tests of sources share."""
