# From the lines of dns.sh to medians of all rounds, ratios to the best of the others in the same round, and a table.
def median: sort | if length == 0 then null else .[(length - 1) / 2 | floor] end;
def spread: "\(min)..\(max)";
def round2: (. * 100 | round) / 100;
def of($lines; $workload; $program): $lines | map(select(.workload == $workload and .program == $program));

. as $lines
| ["agent", "unbound", "dnsmasq", "direct"] as $programs
| ["new", "same"] as $fast
| ["at-2000", "at-5000"] as $paced
| ([$fast[] as $workload | $programs[] as $program | of($lines; $workload; $program) | select(length > 0)
    | {workload: $workload, program: $program, runs: length, perSecond: map(.perSecond) | median, perSecondSpread: map(.perSecond | round) | spread,
       cpuUsPerQuestion: map(.cpuUsPerQuestion) | median, lost: map(.lost) | add, allNoError: map(.allNoError) | all}]) as $throughput
| ([$paced[] as $workload | $programs[] as $program | of($lines; $workload; $program) | select(length > 0)
    | {workload: $workload, program: $program, runs: length, perSecond: map(.perSecond) | median, p50Us: map(.p50Us) | median,
       p99Us: map(.p99Us) | median, p99Spread: map(.p99Us) | spread, lost: map(.lost) | add, allNoError: map(.allNoError) | all}]) as $latency
| ([$fast[] as $workload | ["unbound", "dnsmasq"][] as $other
    | [of($lines; $workload; "agent"), of($lines; $workload; $other)] | transpose | map(select(.[0] and .[1]) | .[0].perSecond / .[1].perSecond | round2)
    | select(length > 0) | {workload: $workload, against: $other, median: median, spread: spread}]) as $ratios
| ([$paced[] as $workload | ["unbound", "dnsmasq"][] as $other
    | [of($lines; $workload; "agent"), of($lines; $workload; $other)] | transpose | map(select(.[0] and .[1]) | .[0].p99Us - .[1].p99Us)
    | select(length > 0) | {workload: $workload, against: $other, addedP99Us: median, spread: spread}]) as $added
| ($lines | map(select(.workload == "memory"))) as $memory
| {throughput: $throughput, latency: $latency, ratios: $ratios, added: $added, memory: $memory, runs: $lines,
   table: ([
     "| workload | program | questions/s, median (least..most) | processor time per question | lost | all NOERROR |", "|---|---|---|---|---|---|",
     ($throughput[] | "| \(.workload) | \(.program) | \(.perSecond | round) (\(.perSecondSpread)) | \(if .program == "direct" then "" else "\(.cpuUsPerQuestion) µs" end) | \(.lost) | \(.allNoError) |"),
     "", "| workload | ratio of questions/s, agent to | median | least..most |", "|---|---|---|---|",
     ($ratios[] | "| \(.workload) | \(.against) | \(.median) | \(.spread) |"),
     "", "| workload | program | p50 | p99, median (least..most) | lost | all NOERROR |", "|---|---|---|---|---|---|",
     ($latency[] | "| \(.workload) | \(.program) | \(.p50Us) µs | \(.p99Us) µs (\(.p99Spread)) | \(.lost) | \(.allNoError) |"),
     "", "| workload | p99 of the agent above that of | median | least..most |", "|---|---|---|---|",
     ($added[] | "| \(.workload) | \(.against) | \(.addedP99Us) µs | \(.spread) |"),
     "", "| names asked | memory of the agent (RSS) |", "|---|---|",
     ($memory[] | "| \(.names) | \(.agentKiB) KiB |")
   ] | join("\n"))}
