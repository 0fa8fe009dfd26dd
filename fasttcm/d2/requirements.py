"""Say in one sentence what is wrong with the detectron2 at hand, before anything else of it is imported."""

__all__ = ["INSTALL_GUIDE", "check_detectron2"]

INSTALL_GUIDE = "https://detectron2.readthedocs.io/en/latest/tutorials/install.html"


def check_detectron2() -> None:
    """Make sure that a usable detectron2 can be imported.

    Raises:
        ImportError: it is absent, older than 0.6, or its compiled part was built for another PyTorch.
    """
    try:
        import detectron2
    except ImportError as error:
        raise ImportError(
            f"fasttcm.d2 needs detectron2, which is not installed; its guide: {INSTALL_GUIDE} "
            "(everything else of fasttcm works without it)"
        ) from error
    import torch

    try:
        from detectron2 import _C  # noqa: F401 (the compiled part)
    except ImportError as error:
        reason = str(error).split("\n", 1)[0]
        raise ImportError(
            f"the compiled part of detectron2 does not load with PyTorch {torch.__version__} ({reason}); build "
            f"detectron2 again in this environment: {INSTALL_GUIDE}"
        ) from error
    try:
        from detectron2.modeling import META_ARCH_REGISTRY, Backbone  # noqa: F401

        current = hasattr(Backbone, "padding_constraints")
    except ImportError:
        current = False
    if not current:
        version = getattr(detectron2, "__version__", "unknown")
        raise ImportError(
            f"detectron2 {version} is too old for fasttcm.d2, which needs the interfaces of 0.6 built from its current "
            f"main branch: {INSTALL_GUIDE}"
        )
