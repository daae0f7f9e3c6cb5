"""The edge where burnmeter reads the world: NVML, engine pages, processes."""
