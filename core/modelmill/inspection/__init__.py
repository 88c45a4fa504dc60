"""What models hold, told by the formats that own them."""
