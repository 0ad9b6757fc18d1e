package lockgate.lib.instants_test

import data.lockgate.lib.instants

test_the_minute_of_the_day if instants.minutes("08:30") == 510

test_the_end_of_the_day if instants.minutes("24:00") == 1440

test_what_is_no_time_has_no_minute if not has_minute("8:30")

test_after_the_end_there_is_none if not has_minute("24:01")

has_minute(text) if is_number(instants.minutes(text))

test_seconds_before_march if instants.seconds("2026-02-28T23:59:59Z") == 1772323199

test_seconds_after_a_leap_day if instants.seconds("2028-03-01T00:00:00Z") == 1835481600

test_another_zone_has_no_seconds if not has_seconds("2026-02-28T23:59:59+01:00")

has_seconds(text) if is_number(instants.seconds(text))

test_the_day_in_a_zone if instants.day([1767225599000000000, "Europe/Stockholm"]) == "2026-01-01"

test_the_day_in_utc if instants.day([1767225599000000000, "UTC"]) == "2025-12-31"
