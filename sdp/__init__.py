"""SDP, the Streaming and Distribution Protocol: live video over plain HTTP/1.1.

Not the Session Description Protocol (RFC 8866).
"""
