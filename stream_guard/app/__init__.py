"""The runtime: the only importer of Faust. `worker` is the entry point, `runner` the core, `lane` the bridge."""
