"""Network pieces shared by several models: plain PyTorch, no compiled extension."""
