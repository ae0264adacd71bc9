"""What a file may use of what it imports: tables for tests/doors.py, which says what a door is."""

from __future__ import annotations

_PLAIN = """
    __future__ argparse ast base64 collections contextlib copy datetime difflib email
    ensurepip enum errno fcntl functools getpass grp hashlib heapq http io itertools json lzma math
    os pathlib platform posixpath pwd queue random re resource secrets shlex shutil signal socket
    socketserver stat subprocess sysconfig tempfile textwrap threading time tokenize tomllib traceback
    unicodedata urllib venv zipfile zlib filelock jsonschema markupsafe requests rfc8785 rich
    safetensors typer urllib3
    """
PLAIN = frozenset(_PLAIN.split())
"""Modules without a door: they read JSON, TOML, text and numbers, or talk to other processes."""

NAMED = {
    "PIL": "Image.Dither Image.Image Image.Quantize Image.fromarray",
    "ase": """
        Atoms __version__ build.bcc100 build.bcc110 build.bcc111 build.bulk build.fcc100 build.fcc110
        build.fcc111 build.minimize_rotation_and_translation build.molecule
        calculators.calculator.Calculator calculators.calculator.CalculatorError
        calculators.calculator.all_changes calculators.emt.EMT constraints.FixAtoms constraints.FixCom
        data.atomic_numbers data.chemical_symbols data.covalent_radii geometry.find_mic
        geometry.get_distances io.iread io.read io.write md.langevin.Langevin
        md.md.MolecularDynamics md.velocitydistribution.Stationary
        md.velocitydistribution.ZeroRotation md.velocitydistribution.thermalize_momenta
        md.verlet.VelocityVerlet neighborlist.natural_cutoffs neighborlist.neighbor_list
        optimize.BFGS stress.full_3x3_to_voigt_6_stress
        stress.voigt_6_to_full_3x3_stress units vibrations.VibrationsData.from_2d
        """,  # none of the readers that `io.read` chooses from unpickles
    "cmaes": "CMAwM",
    "concurrent": "futures.ProcessPoolExecutor futures.ThreadPoolExecutor",
    "dataclasses": "asdict astuple dataclass field replace",
    "e3nn": "get_optimization_defaults o3.Irreps set_optimization_defaults",
    "gc": "collect freeze",
    "hyperqueue": "Job LocalCluster cluster.WorkerConfig",
    "hypothesis": "Phase settings.load_profile settings.register_profile",
    "importlib": "import_module metadata util.find_spec",
    "inspect": "getdoc",
    "jinja2": "Environment FileSystemLoader PackageLoader StrictUndefined",
    "mace": """
        data.AtomicData data.KeySpecification data.config_from_atoms_list
        data.neighborhood.get_neighborhood modules.MACE modules.ScaleShiftMACE modules.gate_dict
        modules.interaction_classes tools.AtomicNumberTable
        tools.torch_geometric.dataloader.DataLoader
        """,
    "matcalc": "ElasticityCalc",
    "matplotlib": """
        artist.Artist axes.Axes backends.backend_agg.FigureCanvasAgg figure.Figure lines.Line2D
        patches.Patch patches.Rectangle patheffects.withStroke rcParamsDefault rc_context
        ticker.FuncFormatter ticker.LogLocator ticker.MaxNLocator ticker.NullFormatter
        """,
    "matscipy": "neighbours.neighbour_list",
    "multiprocessing": "connection.wait get_context process.BaseProcess",
    "numpy": """
        __version__ abs add all allclose arange argmax argmin argsort array array_split asarray
        bool_ cbrt clip column_stack concatenate cross cumsum delete diff einsum empty errstate
        eye flatnonzero float64 full histogram inf int64 isfinite linalg.LinAlgError linalg.eigh
        linalg.lstsq linalg.matrix_rank linalg.norm linalg.svd linspace load log max maximum mean
        median min moveaxis nan ndarray ones outer percentile pi polyder polyfit polyval ptp
        random.Generator random.SeedSequence random.default_rng random.get_state random.set_state
        ravel repeat round savez_compressed sign sort sqrt stack sum tile triu_indices
        typing.NDArray unique where zeros
        """,
    "operator": "add eq ge gt le lt mul ne neg pos sub truediv",
    "optuna": """
        create_study distributions logging.WARNING logging.set_verbosity samplers.BaseSampler
        samplers.RandomSampler samplers.TPESampler trial.create_trial
        """,
    "phonopy": "Phonopy structure.atoms.PhonopyAtoms",
    "pkgutil": "iter_modules",
    "pydantic": """
        AfterValidator AwareDatetime Base64Bytes BaseModel Field NonNegativeInt RootModel
        SerializerFunctionWrapHandler ValidationError ValidationInfo field_validator
        model_serializer model_validator
        """,
    "pydantic_core": "to_jsonable_python",
    "pytest": "main",
    "ruamel": "yaml.YAML yaml.comments yaml.error.YAMLError yaml.events yaml.nodes",
    "scipy": """
        signal.find_peaks sparse.csgraph.connected_components sparse.csgraph.shortest_path
        sparse.csr_array spatial.transform.Rotation.from_quat special.betaincinv special.stdtr
        special.stdtrit stats.spearmanr stats.wasserstein_distance
        """,
    "sys": "argv dont_write_bytecode executable exit modules platform stderr stdin stdout version_info",
    "torch": """
        Tensor __version__ allclose as_tensor bool cat contiguous_format cuda.device_count
        cuda.get_device_name cuda.get_rng_state_all cuda.is_available cuda.is_initialized
        cuda.max_memory_allocated cuda.reset_peak_memory_stats cuda.set_rng_state_all float64
        get_default_dtype get_rng_state int32 int64 isfinite manual_seed nn.Module
        nn.functional.huber_loss nn.utils.clip_grad_norm_ no_grad ones optim.AdamW random.fork_rng
        save set_default_dtype set_num_threads set_rng_state uint8 version.cuda version.hip zeros
        zeros_like
        """,
    "torch_ema": "ExponentialMovingAverage",
    "types": "FrameType ModuleType",
    "typing": """
        Annotated Any BinaryIO ClassVar Final IO Literal NamedTuple NoReturn Protocol Self
        TYPE_CHECKING TypeVar cast get_args
        """,
    "warnings": "catch_warnings filterwarnings simplefilter",
    "xllamacpp": "CommonParams Server",
}
"""What is used of modules that have doors, and is none; what is used besides has to be looked at."""

ALLOWED = frozenset(f"{module}.{name}" for module, names in NAMED.items() for name in names.split())
"""The same in full."""

_BUILTINS = "__builtins__ __import__ __loader__ __spec__ breakpoint compile eval exec globals locals vars"
BUILTINS = frozenset(_BUILTINS.split())
"""Builtins that are doors; `getattr` is one where the name is computed."""

_PLAIN_DUNDERS = """
    __cause__ __class__ __context__ __dataclass_fields__ __doc__ __file__ __init__ __module__ __name__
    __notes__ __path__ __pydantic_extra__ __setattr__ __traceback__ __version__
    """
PLAIN_DUNDERS = frozenset(_PLAIN_DUNDERS.split())
"""Of attributes with two underscores on either side, those by which nothing else is reached."""
