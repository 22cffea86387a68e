"""What the services are watched with: their metrics in one table, dashboards and rules."""
