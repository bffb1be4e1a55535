"""Solutions of 12_benchmarks."""


def pck_all(errors, missed):
    """A missed person has as many joints as any other, all of them wrong."""
    found, joints = errors.shape
    return (errors < 150).sum() / ((found + missed) * joints)


def below(errors, threshold):
    """What is left out makes the mean better, and only the share tells."""
    kept = errors < threshold
    return [errors[kept].mean(), kept.mean()]
