"""A mirror as one would write it in an afternoon on a client library; the thing that late frames break."""
