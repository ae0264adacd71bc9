"""The roles beside the researcher: a reviewer before GPU time is spent, an analyst after the verdict."""
