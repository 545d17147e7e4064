"""PersonaBench: simulated users judge routers on recorded outcomes."""
