"""What people see on a terminal. Renders what it is given and decides nothing."""
