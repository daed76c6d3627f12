"""cxrkeras."""
