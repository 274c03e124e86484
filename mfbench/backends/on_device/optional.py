"""Base class of backends that are compiled for the CPU, or compute in JAX if a device is named."""

from __future__ import annotations

from mfbench.core.errors import SpecError


class OptionalDevice:
    """Without a `device`, compiled code runs on `threads` cores; with one, JAX runs there. JAX is imported only then."""

    device: str | None
    threads: int | None

    def __post_init__(self) -> None:
        if self.device is not None:
            from mfbench.backends.on_device.accelerator import device_named

            if self.threads is not None:
                raise SpecError(f"threads: {self.threads} has no effect with a device; leave out threads or device")
            device_named(self.device)

    @property
    def hardware(self) -> dict[str, str]:
        """The CPU, or the device as JAX describes it."""
        if self.device is None:
            return {"platform": "cpu"}
        from mfbench.backends.on_device.accelerator import hardware_of

        return hardware_of(self.device)

    @property
    def exact(self) -> bool:
        """True on a CPU, on any number of cores."""
        return self.hardware["platform"] == "cpu"
