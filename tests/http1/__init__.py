"""HTTP/1.1 messages: tables of cases, run whole, byte by byte and in random cuts."""
