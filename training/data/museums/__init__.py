"""From a museum's open-access records to a dataset folder."""
