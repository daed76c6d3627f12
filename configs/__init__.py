"""The YAML configurations that ship with cxrkeras (package data)."""
