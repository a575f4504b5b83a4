"""`sam local invoke` in a real container engine, for every event in `events/`."""
