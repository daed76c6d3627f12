"""Localize: where maps lie against expert marks, from annotations to stored tables, pictures and sentences."""
