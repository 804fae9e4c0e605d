import torch

from docs.tutorial.step_2_maths import best_map, moved


def test_a_student_that_is_a_map_of_its_teacher_is_found_exactly():
    theirs, true_map = torch.randn(50, 6), torch.randn(6, 4)

    found = best_map(theirs, theirs @ true_map)

    torch.testing.assert_close(found, true_map)


def test_what_the_map_leaves_over_is_orthogonal_to_all_that_the_teacher_says():
    theirs, ours = torch.randn(50, 6), torch.randn(50, 4)

    left_over = ours - theirs @ best_map(theirs, ours)

    torch.testing.assert_close(theirs.T @ left_over, torch.zeros(6, 4), atol=1e-4, rtol=0)


def test_half_the_way_is_the_mean_of_both_ends():
    ours, sent = torch.randn(50, 4), torch.randn(50, 4)

    halfway = moved(ours, sent, strength=0.5)

    torch.testing.assert_close(halfway, (ours + sent) / 2)
