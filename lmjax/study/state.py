"""How far a study is, read from its folder."""

from __future__ import annotations

from lmjax.study import ledger
from lmjax.study.spec import Arm
from lmjax.study.trials import Result, Trial, chosen_of, compared_trials, read_study, result_of, tuned, tuning_trials


class State:
    """What is known of a study's trials; a result that was read once is not read again."""

    def __init__(self, folder: str, *, since: float = 0.0) -> None:
        self.folder, self.study, self.since = folder, read_study(folder), since
        self.results: dict[Trial, Result] = {}

    def look(self) -> list[Trial]:
        """The trials that are to be done, without those that have failed `since`; nothing is compared before all is tuned."""
        failed = {row['trial'] for row in ledger.read(self.folder) if row['event'] == 'failed' and row['time'] >= self.since}
        return [trial for trial in self.missing() if trial.folder not in failed]

    def chosen(self) -> dict[Arm, Arm]:
        """The choice of each arm, once all are tuned."""
        return chosen_of(self.study, tuned(self.study, self.results))

    def missing(self) -> list[Trial]:
        """The trials that are not over, as far as it is known which there are."""
        left = self._open(tuning_trials(self.study))
        return left or self._open(compared_trials(self.study, self.chosen()))

    def _open(self, trials: list[Trial]) -> list[Trial]:
        for trial in trials:
            if trial not in self.results and (found := result_of(self.folder, self.study, trial)):
                self.results[trial] = found
        return [trial for trial in trials if trial not in self.results]
