// The watch page.
