from host_steal import HostWatch, ticks


def test_the_worst_look_and_the_whole_are_told():
    read = iter([(10, 1000), (10, 1200), (70, 1400), (70, 1600)])
    watch = HostWatch(lambda: next(read), period_s=3600.0)
    watch.look()
    watch.look()
    assert watch.end().startswith("10.0 % of the cores' time, in the worst second 30 % at ")


def test_a_host_that_keeps_nothing():
    watch = HostWatch(lambda: (5, 100))
    assert watch.end() == "0.0 % of the cores' time, in the worst second 0 %"


def test_this_machine_counts():
    kept, passed = ticks()
    assert 0 <= kept <= passed
