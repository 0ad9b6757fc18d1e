package lockgate.exceptions_test

import data.lockgate.exceptions

test_nothing_is_lifted_by_itself if exceptions.lifted == set()

test_nothing_is_granted_by_itself if exceptions.grants == set()
