"""The fit itself: the sample table, the steps on maps and light, and what fills texels that no view sees."""
