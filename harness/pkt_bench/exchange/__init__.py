"""Results in the formats of other programs: what is recorded goes out, what they say comes in."""
