"""How good the detector is: trials against known truth, baselines beside it, and two replays compared."""
