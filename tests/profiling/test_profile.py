"""Profiling a planted device: its stairs, candidates and latencies are recovered, drift and failures survived."""

from __future__ import annotations

import itertools
import math
import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted_device import BLOCK, PlantedAccountant, PlantedDevice, true_ns
from torch import Tensor, nn

from tailor.channels import trace
from tailor.database import Database
from tailor.engines.subjects import layer_subject
from tailor.errors import MeasurementError, NothingToPruneError
from tailor.latency.candidates import draw_networks
from tailor.profiling import Profile, build_widths, profile, session
from tailor.profiling.dense import time_dense
from tailor.profiling.layers import LayerTimer
from tailor.profiling.networks import NetworkTimer
from tailor.profiling.pace import Pace
from tailor.profiling.probed import Probed
from tailor.profiling.session import open_probes
from tailor.protocols import Subject
from tailor.records import Measurement, TimingSettings
from tailor.serialize import read_record, write_record
from tailor.spec import ChannelGraph, LayerShape, Target, Widths
from tailor.timing import settings_named

X = torch.zeros(1, 3, 12, 12)


def conv(inputs: int, outputs: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Net(nn.Module):
    """Two equal layers, a depthwise one, and a residual addition."""

    def __init__(self, unit: int = 16) -> None:
        super().__init__()
        two, three, four = 2 * unit, 3 * unit, 4 * unit
        self.stem, self.a, self.b = conv(3, two), conv(two, two), conv(two, two)
        self.wide, self.depthwise, self.last = conv(two, three), conv(three, three, groups=three), conv(three, four)
        self.head = nn.Linear(four, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.b(self.a(x))
        return self.head(self.last(self.depthwise(self.wide(x))).mean((2, 3)))


MODEL = Net().eval()
GRAPH = trace(MODEL, X)
LARGE = Net(unit=32).eval()  # 0.6 MB of weights
LARGE_GRAPH = trace(LARGE, X)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[PlantedDevice], PlantedDevice]:
    def planted(device: PlantedDevice) -> PlantedDevice:
        monkeypatch.setattr(session, "open_device", lambda target: device)
        return device

    return planted


def run(
    networks: int = 40, database: Database | None = None, seed: int = 0, tell: Callable[[str], None] | None = None
) -> Profile:
    return profile(
        MODEL, GRAPH, X, Target(), database=database or Database.memory(), networks=networks, seed=seed, tell=tell
    )


def run_large(networks: int, database: Database | None = None) -> Profile:
    return profile(LARGE, LARGE_GRAPH, X, Target(), database=database or Database.memory(), networks=networks)


def group_of(graph: ChannelGraph, producer: str) -> str:
    return next(g.name for g in graph.groups if any(path.startswith(producer) for path in g.producers))


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_the_planted_device_is_recovered_also_when_its_clock_drifts(
    plant: Callable[[PlantedDevice], PlantedDevice], drift: float
) -> None:
    plant(PlantedDevice(drift=drift))
    found = run()
    assert found.dense_ns == pytest.approx(true_ns(MODEL) * (1 + drift), rel=0.01)
    assert found.resolution < 0.01
    for name, widths in found.candidates.items():
        assert widths[-1] == GRAPH[name].width
        if GRAPH[name].pinned is None and GRAPH[name].width % BLOCK == 0:
            assert set(widths) <= set(range(BLOCK, 65, BLOCK)), name
            assert len(widths) >= GRAPH[name].width // BLOCK - 1
    latency = found.latency
    for probe in found.networks:
        true = true_ns(build_widths(MODEL, GRAPH, Widths(probe.widths))) * (1 + drift)
        assert latency.predict(Widths(probe.widths)).ns == pytest.approx(true, rel=0.04)
    assert found.error.mean < 0.02
    assert found.error.kendall_tau > 0.9


def test_stairs_are_planned_once_per_shape_and_name_all_their_layers(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    device = plant(PlantedDevice())
    found = run()
    twin = next(s for s in found.staircases if "a.0" in s.layers and s.axis == "out")
    assert twin.layers == ("a.0", "b.0")
    assert twin.staircase.edges == (8, 16, 24, 32)
    assert len({(s.shape, s.axis) for s in found.staircases}) == len(found.staircases)
    depthwise = [s for s in found.staircases if "depthwise.0" in s.layers]
    assert [s.axis for s in depthwise] == ["out"]
    keys = [key for keys in device.sessions for key in keys if key.startswith("layer")]
    yardstick = next(key for key in keys if key.startswith("layer conv 64->64 on 14x14 kernel 3x3"))
    assert len({*keys} - {yardstick}) == found.layer_probes
    layer_sessions = [keys for keys in device.sessions if any(key.startswith("layer") for key in keys)]
    assert all(yardstick in keys for keys in layer_sessions)
    fresh, known = [], set[str]()
    for keys in layer_sessions:
        fresh.append(len({*keys} - {yardstick} - known))
        known |= {*keys}
    assert all(len(keys) <= new + 1 + 8 for keys, new in zip(layer_sessions, fresh, strict=True))


def test_what_the_database_knows_is_not_measured_again(
    plant: Callable[[PlantedDevice], PlantedDevice], tmp_path: Path
) -> None:
    database = Database(tmp_path / "m.sqlite")
    plant(PlantedDevice())
    first = run(database=database)
    device = plant(PlantedDevice(drift=0.02))
    second = run(database=database)
    assert first.layer_probes_found == 0
    assert second.layer_probes <= 5  # all sessions together tell a little more than they did one after the other
    assert second.layer_probes_found >= first.layer_probes * 0.8
    assert second.candidates == first.candidates
    assert (first.networks_found, second.networks_found) == (0, 40)
    # The yardstick, by which the time that layers take is foretold; the dense network and its copy.
    assert sorted(map(len, device.sessions))[:2] == [1, 2]
    assert sum(map(len, device.sessions)) <= 3 + 2 * (5 + 1 + 8)
    again = {Widths(probe.widths): probe.ns for probe in second.networks}
    assert again == pytest.approx({Widths(probe.widths): probe.ns for probe in first.networks}, rel=0.03)


def test_the_time_told_before_a_profile_counts_what_is_known_of_layers_that_take_long_to_make_ready(
    plant: Callable[[PlantedDevice], PlantedDevice], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database, told = Database(tmp_path / "m.sqlite"), list[str]()
    plant(PlantedDevice())
    monkeypatch.setattr(LayerTimer, "cost", lambda timer: 5.0)
    for _ in range(2):
        run(database=database, tell=told.append)
    first, second = (int(words.split("up to ")[1].split()[0]) for words in told)
    assert first >= 4  # at least 13 points of every staircase
    assert second == 1


def test_what_a_process_pays_once_is_not_charged_to_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[LayerShape] = []

    def slow_at_first(shape: LayerShape, batch_size: int, *, seed: int) -> Subject:
        if not paid:
            time.sleep(2.0)
        paid.append(shape)
        return layer_subject(shape, batch_size, seed=seed)

    monkeypatch.setattr("tailor.profiling.layers.layer_subject", slow_at_first)
    layer_subject(GRAPH.layers[0].shape, 1, seed=0)  # what PyTorch really pays once
    device = PlantedDevice()
    timer = LayerTimer(
        device=device, environment=device.environment(), database=Database.memory(), batch_size=1,
        settings=settings_named("quick"), seed=0, progress=lambda stage, done, total: None,
    )
    assert timer.cost() < 1.8
    assert len(paid) == 2


def test_versions_that_were_timed_for_another_profile_count_and_only_what_they_leave_open_is_timed(
    plant: Callable[[PlantedDevice], PlantedDevice], tmp_path: Path
) -> None:
    database = Database(tmp_path / "m.sqlite")
    plant(PlantedAccountant())
    first = run(database=database)
    device = plant(PlantedAccountant())
    other = run(database=database, seed=1)  # draws other networks from the same widths
    known = len(other.networks)
    assert other.networks_found == known
    assert len(first.networks) <= known <= len(first.networks) + 1  # with the narrowest that the model offers
    assert other.instance_noise == pytest.approx(first.instance_noise, rel=0.2)
    timed = [key for keys in device.sessions for key in keys if key.startswith("network") and " copy" not in key]
    assert len(timed) == 1  # the dense one
    more = run(60, database=database, seed=2)
    assert more.networks_found == known
    assert len(more.networks) == 60
    assert {Widths(probe.widths) for probe in first.networks} <= {Widths(probe.widths) for probe in more.networks}


def test_networks_that_failed_for_one_profile_may_fail_for_the_next(
    plant: Callable[[PlantedDevice], PlantedDevice], tmp_path: Path
) -> None:
    database = Database(tmp_path / "m.sqlite")
    plant(PlantedAccountant())
    timer = NetworkTimer(model=MODEL, graph=GRAPH, example_inputs=X, batch_size=1, device=PlantedDevice())
    bad = {timer.key(Widths(network.widths)) for network in run().networks[20:23]}
    for _ in range(2):
        device = plant(PlantedAccountant(fails=lambda subject: subject.key in bad))
        assert 37 <= len(run(database=database).networks) <= 38
        assert bad & {key for keys in device.sessions for key in keys}  # the second time, too


def test_every_session_of_a_noisy_network_is_remembered(
    plant: Callable[[PlantedDevice], PlantedDevice], tmp_path: Path
) -> None:
    plant(PlantedAccountant(noise=0.04))
    networks = draw_networks(GRAPH, {group.name: (group.smallest, group.width) for group in GRAPH.groups}, 24, 0)

    def told(database: Database) -> Probed:
        probes = open_probes(MODEL, GRAPH, X, Target(), database=database)
        return probes.time(networks, seconds=60, pace=Pace(prepare=0.0, one_round=0.02), error=lambda times: 0.0)

    first, second = (told(Database(tmp_path / "m.sqlite")) for _ in range(2))
    assert max(map(len, first.sessions.values())) > 1
    assert second.found == 24
    assert {widths: len(known) for widths, known in second.sessions.items()} == {
        widths: len(known) for widths, known in first.sessions.items()
    }
    assert [second.times[widths].ratio for widths in networks] == pytest.approx(
        [first.times[widths].ratio for widths in networks], rel=1e-9
    )
    assert second.accounts == first.accounts


class Disturbed(PlantedDevice):
    """A host whose neighbours slow a share of the calls of every session, and small networks more than large ones.

    `busy` bounds that share, which is another one in every session.
    """

    def __init__(self, *, busy: tuple[float, float]) -> None:
        super().__init__()
        self.busy = busy

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        share = self._random.uniform(*self.busy)
        found = super().measure(subjects, replace(settings, min_rounds=24))
        return [
            replace(each, samples_ns=tuple(
                round(ns * (1.2 + 3e3 / ns)) if self._random.random() < share else ns for ns in each.samples_ns
            ))
            for each in found
        ]


def test_latencies_are_quiet_levels_and_where_neighbours_hardly_ever_pause_the_usual_ones(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    plant(Disturbed(busy=(0.0, 0.45)))
    often = run()
    assert (often.statistic, often.layer_statistic) == ("quiet", "quiet")
    assert often.dense_ns == pytest.approx(true_ns(MODEL), rel=0.02)
    plant(Disturbed(busy=(0.75, 0.95)))  # hardly ever is a quarter of the calls undisturbed
    rarely = run()
    assert (rarely.statistic, rarely.layer_statistic) == ("usual", "usual")
    assert 1.05 < rarely.dense_ns / true_ns(MODEL) < 1.3


def test_the_dense_network_is_told_by_the_levels_in_which_its_copies_agree() -> None:
    """One copy meets many pauses and the other few: the quickest quarters differ, three quarters hardly."""

    class Flickers(PlantedDevice):
        def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
            pauses = (2, 5)
            return [
                replace(each, samples_ns=(8_000,) * pauses[place] + (10_000,) * (40 - pauses[place]))
                for place, each in enumerate(super().measure(subjects, settings))
            ]

    timer = NetworkTimer(model=MODEL, graph=GRAPH, example_inputs=X, batch_size=1, device=Flickers())
    found = time_dense(timer, Flickers().environment(), Database.memory(), settings_named("quick"))
    assert found.interval.value == pytest.approx(10_000 * 0.8 ** (2 / 30))
    assert found.resolution < found.by("quiet").resolution / 2
    paper = time_dense(timer, Flickers().environment(), Database.memory(), settings_named("lacp"))
    assert paper.interval.value == pytest.approx(9_900)  # the mean that the protocol asks for


def test_a_real_session_tells_what_went_into_its_rounds() -> None:
    """The rest made the networks ready: rounds are planned by both."""
    probes = open_probes(MODEL, GRAPH, X, Target(), database=Database.memory())
    before = time.perf_counter()
    timed = probes.timer.time([GRAPH.smallest_widths], settings_named("quick"))
    spent = time.perf_counter() - before
    assert timed.seconds is not None
    assert sum(sum(each.samples_ns) for each in timed.measurements) / 1e9 < timed.seconds < spent


def test_the_narrowest_network_is_measured_and_every_block_has_the_dense_one(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    device = plant(PlantedDevice())
    found = run()
    narrowest = Widths({group: widths[0] for group, widths in found.candidates.items()})
    assert found.smallest_ns == pytest.approx(true_ns(build_widths(MODEL, GRAPH, narrowest)), rel=0.01)
    timer = NetworkTimer(model=MODEL, graph=GRAPH, example_inputs=X, batch_size=1, device=device)
    blocks = [keys for keys in device.sessions if keys[0].startswith("network")]
    assert all(keys[0] == timer.key(GRAPH.dense_widths) for keys in blocks)
    assert all(keys[1] == keys[0] + " copy 1" for keys in blocks)
    assert sum(len(keys) - 2 for keys in blocks) == len(found.networks)
    assert len(found.networks) == 40


def test_surfaces_recover_what_only_the_engines_account_tells(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    """Kernel jumps, caches and norms inside networks: the lone layers say none of it, the accounts say all."""
    device = plant(PlantedAccountant())
    found = run_large(160)
    assert found.surfaces is not None
    assert found.blend is None or found.blend.share >= 0.9
    assert device.accounted >= 160
    latency, draw, errors = found.latency, random.Random(9), []
    for _ in range(40):
        share = draw.uniform(0.3, 1)
        widths = Widths({
            g.name: g.width if g.pinned else max(6, round(g.width * min(1.0, share * draw.uniform(0.7, 1.3))))
            for g in LARGE_GRAPH.groups
        })
        true = device.true_ns(build_widths(LARGE, LARGE_GRAPH, widths))
        errors.append(abs(latency.predict(widths).ns / true - 1))
    assert statistics.fmean(errors) < 0.01
    assert max(errors) < 0.03
    assert found.error.mean < 0.015
    assert latency.predict(LARGE_GRAPH.dense_widths).ns == pytest.approx(found.dense_ns, rel=0.03)


class Shared(PlantedAccountant):
    """A host that is in another state in every session: ratios to the dense network are off by a level and a slope."""

    STATES = ((0.04, 0.02), (-0.03, -0.03), (-0.01, 0.01))  # the mean is (0, 0)

    def __init__(self) -> None:
        super().__init__()
        self._states = itertools.cycle(self.STATES)

    def measure(self, subjects: Sequence[Subject], settings: TimingSettings) -> list[Measurement]:
        found = super().measure(subjects, settings)
        if not subjects[-1].key.startswith("network") or len(subjects) < 4:
            return found
        (level, slope), dense = next(self._states), statistics.median(found[0].samples_ns)

        def factor(each: Measurement) -> float:
            return math.exp(level + slope * math.log(statistics.median(each.samples_ns) / dense))

        return [
            each if place < 2 else replace(each, samples_ns=tuple(round(ns * factor(each)) for ns in each.samples_ns))
            for place, each in enumerate(found)
        ]


def test_a_profile_on_a_shared_host_predicts_its_mean_state(plant: Callable[[PlantedDevice], PlantedDevice]) -> None:
    device = plant(Shared())
    found = run_large(160)
    assert 0.02 < found.host_noise < 0.035
    assert found.error.mean < 0.012
    latency, errors = found.latency, []
    for widths in draw_networks(LARGE_GRAPH, found.candidates, 40, seed=77):
        true = device.true_ns(build_widths(LARGE, LARGE_GRAPH, widths))
        errors.append(abs(latency.predict(widths).ns / true - 1))
    assert statistics.fmean(errors) < 0.007
    plant(PlantedAccountant())
    assert run_large(160).host_noise < 0.006  # what chance makes of predictions that are a per cent off


def test_without_accounts_the_lone_layers_are_the_model(plant: Callable[[PlantedDevice], PlantedDevice]) -> None:
    class TellsNothing(PlantedAccountant):
        def account(self, subjects, settings, seconds):  # type: ignore[no-untyped-def]
            return self.measure(subjects, settings), {}

    accounted, silent = (plant(kind()) and run_large(40) for kind in (PlantedAccountant, TellsNothing))
    assert (silent.surfaces, silent.blend) == (None, None)
    assert silent.terms is not None
    assert accounted.surfaces is not None
    assert accounted.error.mean < silent.error.mean / 1.5
    assert [probe.widths for probe in silent.networks] == [probe.widths for probe in accounted.networks]
    plant(PlantedDevice())
    assert run().surfaces is None


def test_accounts_of_too_few_networks_are_left_alone(plant: Callable[[PlantedDevice], PlantedDevice]) -> None:
    class TellsHalf(PlantedAccountant):
        def account(self, subjects, settings, seconds):  # type: ignore[no-untyped-def]
            measurements, accounts = super().account(subjects, settings, seconds)
            return measurements, dict(list(accounts.items())[::2])

    plant(TellsHalf())
    assert run_large(40).surfaces is None


def test_accounts_are_remembered_with_their_networks(
    plant: Callable[[PlantedDevice], PlantedDevice], tmp_path: Path
) -> None:
    plant(PlantedAccountant())
    first = run_large(40, Database(tmp_path / "m.sqlite"))
    device = plant(PlantedAccountant(drift=0.02))
    second = run_large(40, Database(tmp_path / "m.sqlite"))
    assert (first.networks_found, second.networks_found) == (0, 40)
    assert device.accounted == 0
    assert sorted(map(len, device.sessions))[:2] == [1, 2]
    assert second.surfaces is not None
    assert second.error.mean == pytest.approx(first.error.mean, rel=0.5)
    write_record(tmp_path / "profile.json", second)
    assert read_record(tmp_path / "profile.json", Profile) == second


def test_a_disturbed_dense_session_is_repeated_and_the_quietest_counts(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    class CalmsDown(PlantedDevice):
        def measure(self, subjects, settings):  # type: ignore[no-untyped-def]
            self.noise = 0.003 if self.sessions else 0.3
            return super().measure(subjects, settings)

    device = plant(CalmsDown())
    assert run().resolution < 0.01
    assert [len(keys) for keys in device.sessions[:2]] == [2, 2]
    assert [len(device.sessions[2]), len(device.sessions[3]) > 2] == [1, True]  # on to the yardstick and the layers


def test_a_profile_is_stored_and_read(plant: Callable[[PlantedDevice], PlantedDevice], tmp_path: Path) -> None:
    plant(PlantedDevice())
    found = run(networks=24)
    write_record(tmp_path / "profile.json", found)
    again = read_record(tmp_path / "profile.json", Profile)
    assert again == found
    assert again.latency.predict(GRAPH.dense_widths) == found.latency.predict(GRAPH.dense_widths)


def test_progress_is_told_stage_by_stage(plant: Callable[[PlantedDevice], PlantedDevice]) -> None:
    plant(PlantedDevice())
    told: list[tuple[str, int, int]] = []
    profile(
        MODEL, GRAPH, X, Target(), database=Database.memory(), networks=24,
        progress=lambda *step: told.append(step),
    )
    assert list(dict.fromkeys(stage for stage, *_ in told)) == ["dense network", "layers", "networks", "latency model"]
    assert all(0 < done <= total for stage, done, total in told if stage != "latency model")
    assert told[-3:] == [("networks", 24, 24), ("latency model", 0, 1), ("latency model", 1, 1)]


def test_a_layer_shape_that_cannot_run_costs_a_point_not_the_profile(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    plant(PlantedDevice(fails=lambda subject: "->20 on" in subject.key))
    found = run()
    assert found.error.mean < 0.03
    assert all(p.channels != 20 for s in found.staircases if s.axis == "out" for p in s.staircase.points)


def test_a_few_networks_may_fail_but_not_the_dense_nor_the_narrowest(
    plant: Callable[[PlantedDevice], PlantedDevice]
) -> None:
    class OneFails(PlantedDevice):
        def measure(self, subjects, settings):  # type: ignore[no-untyped-def]
            bad = len(self.sessions)
            self.fails = lambda subject: bad == 8 and subject is subjects[-1]
            return super().measure(subjects, settings)

    device = plant(OneFails())
    found = run()
    assert len(found.networks) in (39, 40)
    assert len(device.sessions) > 8
    dense = true_ns(MODEL)

    def is_dense(subject: Subject) -> bool:
        return subject.key.startswith("network") and true_ns(subject.module) == dense

    plant(PlantedDevice(fails=is_dense))
    with pytest.raises(MeasurementError, match="dense network could not be timed: RuntimeError: planted"):
        run()
    plant(PlantedDevice(fails=lambda subject: subject.key.startswith("network") and not is_dense(subject)))
    with pytest.raises(MeasurementError, match="narrowed networks could not be run"):
        run()
    plant(PlantedDevice(fails=lambda subject: subject.key.startswith("layer")))
    with pytest.raises(MeasurementError, match="no layer can be timed"):
        run()


def test_a_network_that_gains_nothing_is_told_before_any_search(
    plant: Callable[[PlantedDevice], PlantedDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(PlantedDevice())
    monkeypatch.setattr("planted_device.true_ns", lambda module: 1e6)
    with pytest.raises(NothingToPruneError, match=r"no group makes its layers faster by 1\.\d%"):
        run()


def test_real_time_fills_a_profile_and_leaves_the_model_alone() -> None:
    """The real engine on a tiny network: no number is asserted, only that all parts meet."""
    model = nn.Sequential(conv(3, 64), conv(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    x = torch.zeros(1, 3, 16, 16)
    graph = trace(model, x)
    told: list[tuple[str, float]] = []
    found = profile(
        model, graph, x, Target(), database=Database.memory(), networks=10, settings=settings_named("quick"),
        tell=lambda words: told.append((words, time.perf_counter())),
    )
    ((words, at),) = told  # said once the dense network is timed, and kept
    minutes = re.search(r"^dense \d+\.\d{3} ms; the profile takes up to (\d+) min from here$", words)
    assert minutes
    assert time.perf_counter() - at <= 60 * int(minutes[1])
    assert found.protocol == "quick"
    assert found.latency.predict(graph.dense_widths).ns > 0
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
