"""The page of ``fasttcm web``: drop a picture, see and copy its words. Needs the extra ``web``."""
