"""The course: exercises that check themselves, and what a teacher needs to release and to grade them."""

from rgd.course import exercises
from rgd.course.task import EXERCISES, Exercise, Verdict, check, points

__all__ = ["EXERCISES", "Exercise", "Verdict", "check", "exercises", "points"]
