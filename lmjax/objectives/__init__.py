"""How a batch is scored: summed loss, weight and metrics; `table.OBJECTIVES` has a row for each kind."""
