"""What SDP is compared to, on the same clock: other programs between the same pictures and the same decoder."""
