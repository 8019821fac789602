"""What an operator may see and do over HTTP, with a key of the scope `admin`."""
