// The index page.
