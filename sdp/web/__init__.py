"""What a browser gets from a Distributor: two pages, and the modules and styles that they load.

The pages are plain HTML that reads without scripts; what moves in them are ES modules, served as they lie here,
without a build step. Nothing in a page is inline: ``default-src 'self'; media-src 'self' blob:`` is a sufficient
Content-Security-Policy (the blob is how Media Source Extensions hand a video its bytes).
"""

from sdp.web.pages import Pages

__all__ = ["Pages"]
