# METADATA
# title: Times as people write them
# description: Functions. What is not written as it must be has no value, so that nothing holds by it.
package lockgate.lib.instants

# METADATA
# description: The minute of the day; "08:30" is 510. The end of the day is "24:00".
minutes(text) := (number(substring(text, 0, 2)) * 60) + number(substring(text, 3, 2)) if {
	regex.match(`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`, text)
}

# METADATA
# description: Seconds since 1970 of a time in UTC, written as 2026-11-28T05:00:00Z.
seconds(text) := (((days * 24) + hour) * 3600) + (minute * 60) + second if {
	regex.match(`^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$`, text)
	days := day_number(number(substring(text, 0, 4)), number(substring(text, 5, 2)), number(substring(text, 8, 2)))
	hour := number(substring(text, 11, 2))
	minute := number(substring(text, 14, 2))
	second := number(substring(text, 17, 2))
}

# METADATA
# description: The day of the year 2026 to 2099 as "2026-12-25", in the zone of `moment`, which is what `time.date` takes.
day(moment) := sprintf("%d-%s-%s", [year, two(month), two(of_month)]) if [year, month, of_month] := time.date(moment)

# Days since 1970-01-01 in the Gregorian calendar, with years that begin in March, so that the leap day is their last.
day_number(year, month, of_month) := (((((365 * since) + floor(since / 4)) - floor(since / 100)) + floor(since / 400)) + of_year) - 719468 if {
	since := march_year(year, month)
	of_year := (floor(((153 * march_month(month)) + 2) / 5) + of_month) - 1
}

march_year(year, month) := year if month > 2

march_year(year, month) := year - 1 if month <= 2

march_month(month) := month - 3 if month > 2

march_month(month) := month + 9 if month <= 2

# Digits as a number. A 1 stands before them, since JSON has no number that begins with 0.
number(digits) := json.unmarshal(concat("", ["1", digits])) - 100 if count(digits) == 2

number(digits) := json.unmarshal(digits) if count(digits) == 4

two(value) := sprintf("0%d", [value]) if value < 10

two(value) := sprintf("%d", [value]) if value >= 10
