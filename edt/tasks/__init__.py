"""Tasks: the container, and generators of real and synthetic ones."""

from __future__ import annotations

from edt.arguments import checked
from edt.tasks.augment import CropFlip
from edt.tasks.cifar import CifarError, cifar10, cifar100
from edt.tasks.data_file import from_file
from edt.tasks.function_task import FunctionTask
from edt.tasks.mnist import IdxError, fashion_mnist, mnist
from edt.tasks.module_task import ModuleTask
from edt.tasks.real import breast_cancer, diabetes, digits, mnist1d
from edt.tasks.rosenbrock import rosenbrock
from edt.tasks.task import LOSSES, Task
from edt.tasks.task_sum import TaskSum
from edt.tasks.teacher import teacher_student
from edt.tasks.training_noise import Noisy
from edt.tasks.xor import one_logit, xor

__all__ = [
    "LOSSES",
    "CifarError",
    "CropFlip",
    "FunctionTask",
    "IdxError",
    "ModuleTask",
    "Noisy",
    "Task",
    "TaskSum",
    "breast_cancer",
    "cifar10",
    "cifar100",
    "diabetes",
    "digits",
    "fashion_mnist",
    "from_file",
    "mnist",
    "mnist1d",
    "one_logit",
    "rosenbrock",
    "teacher_student",
    "xor",
]

checked(__name__)
