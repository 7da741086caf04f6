"""Messages that never came, by the numbers of those that did."""

from dreamif_ros.node.lost_messages import LostMessages


def lost(*messages):
    counter = LostMessages()
    for publisher, number in messages:
        counter.take(publisher, number)
    return counter.count


def test_nothing_is_known_without_numbers():
    assert lost() is None


def test_gaps_are_counted_from_the_first_message_on():
    assert lost((b"a", 17), (b"a", 18), (b"a", 19)) == 0
    assert lost((b"a", 17), (b"a", 20), (b"a", 21), (b"a", 23)) == 3


def test_each_publisher_has_numbers_of_its_own():
    assert lost((b"a", 1), (b"b", 900), (b"a", 2), (b"b", 902)) == 1


def test_a_publisher_that_begins_anew_has_lost_nothing():
    assert lost((b"", 500), (b"", 1), (b"", 2)) == 0
