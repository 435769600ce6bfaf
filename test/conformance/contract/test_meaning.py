# SPDX-License-Identifier: BSD-3-Clause
"""What the configuration means where a reader could doubt, statement by statement, from the file to the
packets. What an RFC asks is in the tests beside this directory."""
import itertools
import struct

import pytest

from nat import POOL, ROUTER_OUT, S1, S2, US_IN, I, J, K, Refused, mac_of
from packets import (Raw, answer, checksum, dst, echo, fragments, host, icmp_error, ip, l4, quotes, reassembled, src,
                     tcp, udp, whole)

SILENT = {"refused": "off"}
HOLD_S = 120


def static(external, internal, name="s", **keys):
    return {"name": name, "external": str(external), "internal": str(internal), **keys}


def refused_config(start, **config):
    with pytest.raises(Refused) as refusal:
        start(**config)
    return str(refusal.value)


# ---- defaults

DEFAULTS = {
    "runtime.memory-mb": "4096",
    "runtime.eal-args": "[]",
    "control.socket": "/run/cgnat/cgnatd.sock",
    "interfaces[inside].mtu": "1500",
    "interfaces[inside].vlan": "0",
    "pools[p].ports": "1024-65535",
    "pools[p].allocation": "dynamic",
    "pools[p].block-size": "256",
    "pools[p].max-blocks": "4",
    "pools[p].reserved-ports": "[]",
    "policies[home].action": "translate",
    "policies[home].filtering.udp": "endpoint-independent",
    "policies[home].filtering.tcp": "endpoint-independent",
    "policies[home].hairpin": "true",
    "timeouts.udp": "300",
    "timeouts.tcp-established": "7440",
    "timeouts.tcp-opening": "240",
    "timeouts.tcp-closing": "240",
    "timeouts.icmp": "60",
    "timeouts.hold-down": "120",
    "timeouts.fragment": "2",
    "timeouts.non-conformant": "false",
    "tcp-mss-clamp": "0",
    "tcp-midstream": "drop",
    "icmp.refused": "host-unreachable",
    "icmp.errors-per-second": "100",
}


def test_a_minimal_configuration_has_the_documented_defaults(start):
    nat = start(pools=[{"name": "p", "addresses": [f"{POOL[0]}"]}])
    config = nat.config()
    assert {key: config.get(key) for key in DEFAULTS} == DEFAULTS
    assert not nat.warnings


# ---- timeouts

@pytest.mark.parametrize("key,minimum", [
    ("udp", 120), ("tcp-established", 7440), ("tcp-closing", 240), ("icmp", 60), ("fragment", 2)])
def test_a_timeout_below_its_minimum_is_refused_unless_non_conformant_and_then_warns(start, key, minimum):
    assert key in refused_config(start, timeouts={key: minimum - 1})
    nat = start(timeouts={key: minimum})
    assert not nat.warnings
    nat.close()
    nat = start(timeouts={key: minimum - 1, "non-conformant": True})
    assert key in str(nat.warnings) and str(minimum) in str(nat.warnings)
    assert nat.config()[f"timeouts.{key}"] == str(minimum - 1)


@pytest.mark.parametrize("seconds,warns", [(0, True), (119, True), (120, False), (300, False)])
def test_hold_down_may_be_anything_and_warns_below_120(start, seconds, warns):
    nat = start(timeouts={"hold-down": seconds})
    assert ("hold-down" in str(nat.warnings)) == warns


# ---- hold-down

def test_a_block_whose_last_mapping_ended_is_held_and_not_used(start):
    nat = start(workers=1, pool={"addresses": [f"{POOL[0]}"], "ports": "1024-1087"}, icmp=SILENT)
    x = src(nat.out(udp(I(5000), S1(53))))

    def counts():
        pool = nat.ctl("show pools")[0]
        return pool["blocks_used"], pool["blocks_held"], nat.ctl("status")["blocks"]

    assert counts() == (1, 0, 1)
    nat.wait(303)
    assert counts() == (0, 1, 0)
    nat.refuse_out(udp(J(5000), S1(53)), "POOL_FULL")  # to nobody else
    assert src(nat.out(udp(I(5001), S1(53)))) != x  # the port rests for its own endpoint
    assert counts() == (1, 0, 1)  # the same subscriber may have the block again
    assert src(nat.out(udp(I(5000), S1(53)))) == x
    nat.wait(303 + HOLD_S + 3)
    assert counts() == (0, 0, 0)
    nat.out(udp(J(5000), S1(53)))


# ---- deterministic

def deterministic(ports, **keys):
    return {"name": "p", "addresses": [f"{POOL[0]}"], "allocation": "deterministic", "block-size": 16,
            "deterministic": {"algorithm": "sequential", "ports": ports}, **keys}


def test_deterministic_subscribers_are_the_sources_of_the_policies_in_order(start):
    nat = start(pools=[deterministic(64, **{"max-blocks": 2}), {"name": "q", "addresses": [f"{POOL[1]}"]}],
                policies=[
        {"name": "one", "match": {"source": ["100.64.0.7/32", "100.64.0.5/32"]}, "pool": "p"},
        {"name": "other", "match": {"source": ["100.64.0.9/32"]}, "pool": "q"},
        {"name": "two", "match": {"source": ["100.64.0.6/32"]}, "pool": "p"}], icmp=SILENT)
    for n, subscriber in enumerate((K, I, J)):
        first = 1024 + 64 * n
        ports = {src(nat.out(udp(subscriber(5000 + i), S1(53)))).port for i in range(64)}
        assert ports == set(range(first, first + 64))  # each has its preset range
        answer = nat.ctl("resolve", subscriber=str(subscriber))
        want = {"subscriber": str(subscriber), "external_address": str(POOL[0]), "first_port": first,
                "last_port": first + 63, "dynamic": False}
        assert {k: answer[k] for k in want} == want
        answer = nat.ctl("resolve", external=f"{POOL[0]}:{first + 63}")
        assert {k: answer[k] for k in want} == want
        x = src(nat.out(udp(subscriber(6000), S1(53))))  # overflow, from what is left
        assert x.address == POOL[0] and x.port >= 1024 + 3 * 64
        answer = nat.ctl("resolve", external=str(x))
        assert (answer["subscriber"], answer["dynamic"]) == (str(subscriber), True)
        assert answer["last_port"] - answer["first_port"] == 15
        for i in range(15):
            nat.out(udp(subscriber(6001 + i), S1(53)))
        nat.refuse_out(udp(subscriber(7000), S1(53)), "BLOCK_LIMIT")  # preset and overflow together


def test_deterministic_ports_default_to_the_block_size(start):
    pool = deterministic(0)
    pool["deterministic"] = {"algorithm": "sequential"}
    nat = start(pools=[pool], policies=[{"name": "home", "match": {"source": ["100.64.0.0/29"]}}])
    answer = nat.ctl("resolve", subscriber="100.64.0.1")
    assert answer["last_port"] - answer["first_port"] == 15


def test_a_pool_too_small_for_its_subscribers_is_refused_and_told_what_would_fit(start):
    text = refused_config(start, pools=[deterministic(4032)],
                          policies=[{"name": "home", "match": {"source": ["100.64.0.0/26"]}}])
    assert "addresses" in text and "ports" in text, text


# ---- static mappings

def test_static_mappings_take_their_ports_out_of_the_blocks(start):
    nat = start(workers=1, pool={"addresses": [f"{POOL[0]}"], "ports": "1024-1039", "block-size": 16},
                static_mappings=[static(POOL[0](1030), J(80), protocol="udp")], icmp=SILENT)
    ports = [src(nat.out(tcp(I(5000 + n), S1(80)))).port for n in range(15)]
    assert 1030 not in ports and len(set(ports)) == 15
    nat.refuse_out(tcp(I(6000), S1(80)), "ADDRESS_FULL")


def test_static_mappings_may_use_any_address_routed_to_us(start):
    nat = start(static_mappings=[static("203.0.113.77:443", J(8443), protocol="tcp")])
    assert dst(nat.in_(tcp(S1(9), host("203.0.113.77")(443)))) == J(8443)


def test_static_ranges_are_of_equal_length(start):
    nat = start(static_mappings=[static(f"{POOL[0]}:17000-17009", f"{J}:7000-7009", protocol="tcp")])
    for n in (0, 5, 9):
        assert dst(nat.in_(tcp(S1(9), POOL[0](17000 + n)))) == J(7000 + n)
    nat.close()
    refused_config(start, static_mappings=[
        static(f"{POOL[0]}:17000-17009", f"{J}:7000-7008", protocol="tcp")])


def test_one_to_one_takes_the_whole_address_out_of_the_pool(start):
    before = start()
    total = before.ctl("show pools")[0]["blocks_total"]
    before.close()
    nat = start(static_mappings=[static(POOL[3], J)])
    assert nat.ctl("show pools")[0]["blocks_total"] == total * 3 // 4
    assert src(nat.out(udp(J(5000), S1(53)))) == POOL[3](5000)
    for n in range(40):
        assert src(nat.out(udp(host(f"100.64.1.{n + 1}")(5000), S1(53)))).address != POOL[3]


def test_static_mappings_are_reachable_by_anybody_whatever_the_filtering(start):
    nat = start(policy={"filtering": {"udp": "address-and-port-dependent",
                                      "tcp": "address-and-port-dependent"}},
                static_mappings=[static(POOL[0](443), J(8443), protocol="tcp")])
    for remote in S1(1), S2(2):
        assert dst(nat.in_(tcp(remote, POOL[0](443)))) == J(8443)


def test_static_mappings_count_in_no_limit(start):
    nat = start(policy={"limits": {"sessions": 1, "new-sessions-per-second": 1}},
                static_mappings=[static(POOL[0](443), J(8443), protocol="tcp")])
    for n in range(20):
        nat.in_(tcp(S1(1000 + n), POOL[0](443)))
    nat.out(udp(J(5000), S1(53)))
    assert nat.ctl("show subscribers", subscriber=str(J))[0]["sessions"] == 1


def test_static_mappings_do_not_decide_the_paired_address(start):
    nat = start(workers=1, pool={"addresses": [f"{POOL[0]}", f"{POOL[1]}"], "ports": "1024-1087"},
                static_mappings=[static(f"{POOL[0]}:{80 + n}", f"100.64.1.{n}:80", f"s{n}", protocol="tcp")
                                 for n in range(1, 60)], icmp=SILENT)
    seen = set()
    for n in (1, 2):
        nat.in_(tcp(S1(9), POOL[0](80 + n)))
        seen.add(src(nat.out(udp(host(f"100.64.1.{n}")(5000), S1(53)))).address)
    assert seen == {POOL[0], POOL[1]}  # one block on each: the second one had to go elsewhere


# ---- limits

def test_the_token_bucket_holds_one_second_and_refused_packets_take_none(start):
    nat = start(policy={"limits": {"new-sessions-per-second": 10}}, icmp=SILENT)
    nat.wait(60)  # no more is saved
    nat.put(nat.inside, *(udp(I(5000 + n), S1(53)) for n in range(50)))
    assert len(nat.take(nat.outside)) == 10 and nat.drops()["RATE_LIMIT"] == 40
    nat.wait(1)  # the 40 took nothing of this second's
    nat.put(nat.inside, *(udp(I(6000 + n), S1(53)) for n in range(50)))
    assert len(nat.take(nat.outside)) == 10 and nat.drops()["RATE_LIMIT"] == 80


def test_sessions_from_outside_count(start):
    nat = start(policy={"limits": {"sessions": 3}}, icmp=SILENT)
    x = src(nat.out(udp(I(5000), S1(53))))
    nat.in_(udp(S2(1), x))
    nat.in_(udp(S2(2), x))
    nat.refuse_in(udp(S2(3), x), "SESSION_LIMIT")
    nat.refuse_out(udp(I(5001), S1(53)), "SESSION_LIMIT")


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_max_sessions_and_max_subscribers_are_shared_out_equally(start, workers):
    nat = start(workers=workers, sessions=64 * workers, subscribers=2 * workers, icmp=SILENT,
                static_mappings=[static(POOL[0](443), "100.64.1.1:443", protocol="tcp")])
    nat.in_(tcp(S1(9), POOL[0](443)))  # not counted
    for n in range(1, 200):
        nat.put(nat.inside, udp(host(f"100.64.2.{n}")(5000), S1(53)))
        nat.take(nat.outside)
    subscribers = nat.ctl("show subscribers")
    of = [sum(s["worker"] == w for s in subscribers) for w in range(workers)]
    assert of == [2] * workers
    assert nat.drops()["SUBSCRIBER_TABLE_FULL"] == 199 - 2 * workers
    for s in subscribers:
        for n in range(70):
            nat.put(nat.inside, udp(host(s["subscriber"])(6000 + n), S1(53)))
            nat.take(nat.outside)
    sessions = nat.sessions(protocol="udp")
    assert [sum(s["worker"] == w for s in sessions) for w in range(workers)] == [64] * workers
    status = nat.ctl("status")
    assert (status["sessions"], status["subscribers"]) == (64 * workers + 1, 2 * workers)


# ---- policies

BYPASS = [{"name": "partner", "match": {"source": ["100.64.0.0/10"], "destination": ["198.18.0.0/15"]},
           "action": "bypass"},
          {"name": "home", "match": {"source": ["100.64.0.0/10"]}}]
PARTNER = host("198.18.3.4")


@pytest.mark.parametrize("make", [
    lambda a, b: udp(a(5000), b(53)), lambda a, b: tcp(a(5000), b(80), "A"), lambda a, b: echo(a(5), b),
    lambda a, b: whole(ip(a, b, proto=47) / bytes(20)), lambda a, b: whole(ip(a, b, proto=132) / bytes(20))],
    ids=["udp", "tcp", "icmp", "gre", "sctp"])
def test_bypass_takes_any_protocol_midstream_and_both_ways(start, make):
    nat = start(policies=BYPASS)
    for _ in range(2):
        assert bytes(nat.out(make(I, PARTNER)))[12:20] == bytes(make(I, PARTNER))[12:20]
        assert bytes(nat.in_(make(PARTNER, I)))[12:20] == bytes(make(PARTNER, I))[12:20]
    counters = nat.counters()
    assert (counters["bypassed"], counters["sessions_created"], counters["mappings_created"]) == (4, 0, 0)


def test_bypass_takes_fragments_in_any_order(start):
    nat = start(policies=BYPASS)
    for source, destination, way in ((I, PARTNER, nat.out), (PARTNER, I, nat.in_)):
        parts = fragments(udp(source(5000), destination(53), bytes(1200), id=77), 400, 800)
        for part in reversed(parts):
            way(part)
    assert nat.counters()["held"] == 0


def test_no_policy_is_a_counted_drop_and_the_first_match_wins(start):
    nat = start(policies=[
        {"name": "no-dns", "match": {"protocol": "udp", "destination-ports": [53, "5000-5010"]},
         "action": "drop"},
        {"name": "home", "match": {"source": ["100.64.0.5/32"]}}], icmp=SILENT)
    nat.refuse_out(udp(I(5000), S1(53)), "POLICY_DROP")
    nat.refuse_out(udp(I(5000), S1(5010)), "POLICY_DROP")
    nat.out(udp(I(5000), S1(5011)))
    nat.out(tcp(I(5000), S1(53)))
    nat.refuse_out(udp(J(5000), S1(80)), "POLICY_NONE")


def test_from_inside_to_inside_is_dropped_unless_a_bypass_says_otherwise(start):
    nat = start()
    nat.refuse_out(udp(I(5000), J(53)), "INTERNAL_TO_INTERNAL")
    nat.close()
    nat = start(policies=[{"name": "local", "match": {"destination": ["100.64.0.0/10"]}, "action": "bypass"},
                          {"name": "home"}])
    nat.hairpin(udp(I(5000), J(53)))


def test_hairpin_false(start):
    nat = start(policy={"hairpin": False}, icmp=SILENT)
    x = src(nat.out(udp(I(5000), S1(53))))
    nat.refuse_out(udp(J(5000), x), "HAIRPIN_OFF")


@pytest.mark.parametrize("mode,reason", [("drop", "TCP_NO_SESSION"), ("forward-if-mapped", None)])
def test_tcp_midstream(start, mode, reason):
    nat = start(tcp_midstream=mode)
    x = nat.open_tcp(I(5000), S1(80))
    if reason:
        nat.refuse_out(tcp(I(5000), S2(80), "A"), reason)
        nat.refuse_in(tcp(S2(80), x, "A"), reason)
    else:
        assert src(nat.out(tcp(I(5000), S2(80), "A"))) == x
        assert dst(nat.in_(tcp(S1(81), x, "A"))) == I(5000)
    nat.refuse_out(tcp(I(6000), S1(80), "A"), "TCP_NO_SESSION")  # no mapping


# ---- pools, addresses

def test_first_and_last_address_of_a_prefix_are_used(start):
    nat = start(workers=1, pool={"addresses": [f"{POOL[0].rsplit('.', 1)[0]}.0/30"], "block-size": 16384})
    assert nat.ctl("show pools")[0]["blocks_total"] == 4 * 3
    seen = {src(nat.out(udp(host(f"100.64.2.{n}")(5000), S1(53)))).address for n in range(1, 13)}
    assert sorted(seen) == [f"203.0.113.{n}" for n in range(4)]


def arp_request(nat, side, asker, asked):
    mac = mac_of(asker)
    frame = (b"\xff" * 6 + mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" + mac + ip_bytes(asker) +
             bytes(6) + ip_bytes(asked))
    nat.put_frames(side, frame)
    replies = nat.take(side)
    return bool(replies)


def ip_bytes(address):
    return bytes(int(part) for part in address.split("."))


def test_arp_is_answered_for_external_addresses_in_our_own_prefixes_only(start):
    nat = start(pool={"addresses": ["192.0.2.16/30", f"{POOL[0]}"]},
                static_mappings=[static("192.0.2.40:443", J(443), protocol="tcp")])
    for asked, answered in (("192.0.2.2", True), ("192.0.2.16", True), ("192.0.2.19", True),
                            ("192.0.2.40", True), ("192.0.2.20", False), (str(POOL[0]), False)):
        assert arp_request(nat, nat.outside, ROUTER_OUT, asked) == answered, asked
    assert not arp_request(nat, nat.inside, "10.255.0.9", "192.0.2.16")
    assert arp_request(nat, nat.inside, "10.255.0.9", str(US_IN))


def test_vlan_0_accepts_untagged_and_priority_tagged_frames_and_sends_untagged_ones(start):
    nat = start()
    for tag in (b"", b"\x81\x00\x00\x00", b"\x81\x00\xe0\x00"):  # none; VID 0; VID 0, priority 7
        nat.put_frames(nat.inside, nat.inside.mac + mac_of(nat.inside.neighbour) + tag + b"\x08\x00" +
                       bytes(udp(I(5000), S1(53))))
        assert src(nat.one(nat.outside)).address in POOL  # parsed as an untagged frame
    before = nat.drops()["VLAN_MISMATCH"]
    nat.put_frames(nat.inside, nat.inside.mac + mac_of(nat.inside.neighbour) + b"\x81\x00\x00\x07\x08\x00" +
                   bytes(udp(I(5000), S1(53))))
    nat.nothing()
    assert nat.drops()["VLAN_MISMATCH"] == before + 1


@pytest.mark.parametrize("setting,code", [("host-unreachable", 1), ("admin-prohibited", 13), ("off", None)])
def test_who_is_refused_is_told_as_configured(start, setting, code):
    nat = start(icmp={"refused": setting}, policy={"limits": {"sessions": 1}})
    nat.out(udp(I(5000), S1(53)))
    nat.put(nat.inside, udp(I(5001), S1(53)))
    told = [(p.src, bytes(p)[20:22]) for p in nat.take(nat.inside)]
    assert told == ([] if code is None else [(str(US_IN), bytes([3, code]))])


def test_errors_per_second_is_the_rate_of_a_worker(start):
    nat = start(workers=1, icmp={"errors-per-second": 7, "errors-per-second-per-host": 1000})
    nat.put(nat.inside, *(udp(I(5000 + n), S1(53), ttl=1) for n in range(50)))
    assert 7 <= len(nat.take(nat.inside)) <= 8


def test_an_icmp_error_about_a_bypassed_packet_is_bypassed(start):
    nat = start(policies=BYPASS)
    p = nat.out(udp(I(5000), PARTNER(53)))
    nat.in_(icmp_error(3, 3, PARTNER, I, p))


# ---- tcp-mss-clamp

def segment(source, destination, flags, options, data=b"", **fields):
    """A TCP segment with these bytes as its options, in multiples of 4."""
    header = struct.pack("!HHIIBBHHH", source.port, destination.port, 1000, 0, (5 + len(options) // 4) << 4, flags,
                         8192, 0, 0) + options + data
    head = ip(source.address, destination.address, proto=6, **fields)
    pseudo = bytes(whole(head))[12:20] + struct.pack("!BBH", 0, 6, len(header))
    return whole(head / Raw(header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]))


SYN, SYN_ACK, ACK, ECN_SYN = 0x02, 0x12, 0x10, 0xc2
CLAMPED = [  # options, and what becomes of them at 1200
    (b"\x02\x04\x05\xb4", b"\x02\x04\x04\xb0"), (b"\x02\x04\xff\xff", b"\x02\x04\x04\xb0"),
    (b"\x02\x04\x04\xb0", None), (b"\x02\x04\x02\x00", None),  # never raised
    (b"\x01\x02\x04\x05\xb4\x01\x01\x00", b"\x01\x02\x04\x04\xb0\x01\x01\x00"),  # at an odd offset
    (b"\x22\x0a" + bytes(8) + b"\x04\x02" + b"\x02\x04\x05\xb4", b"\x22\x0a" + bytes(8) + b"\x04\x02\x02\x04\x04\xb0"),
    (b"", None), (b"\x00\x00\x02\x04\x05\xb4\x00\x00", None),  # behind the end of the options
    (b"\x02\x03\x05\xb4", None), (b"\x08\x00\x02\x04\x05\xb4\x00\x00", None),  # lengths that cannot be
    (b"\x01\x01\x01\x02", None), (b"\x01\x02\x04\x05", None), (b"\x01\x08\x28\x02\x04\x05\xb4\x00", None)]


@pytest.mark.parametrize("options,wanted", CLAMPED, ids=range(len(CLAMPED)))
def test_mss_clamp_lowers_what_is_larger_and_touches_nothing_else(start, options, wanted):
    nat = start(tcp_mss_clamp=1200)

    def through(p, entry, exit):
        nat.put(entry, p)
        q = nat.one(exit)
        header = (l4(q)[12] >> 4) * 4
        assert l4(q)[header:] == l4(p)[header:]
        return q, l4(q)[20:header]

    for flags in SYN, ECN_SYN:
        for data in b"", b"\xff", b"fast open":
            q, got = through(segment(I(5000), S1(80), flags, options, data), nat.inside, nat.outside)
            assert got == (wanted or options)
    assert through(segment(S1(80), src(q), SYN_ACK, options), nat.outside, nat.inside)[1] == (wanted or options)
    assert through(segment(I(5000), S1(80), ACK, options), nat.inside, nat.outside)[1] == options
    parts = fragments(segment(I(5001), S1(80), SYN, options, bytes(900)), 400)
    nat.put(nat.inside, *parts[::-1])
    whole_again = reassembled(nat.take(nat.outside))
    assert l4(whole_again)[20:20 + len(options)] == (wanted or options)


# ---- several interfaces of a role

@pytest.mark.parametrize("quiet", ["in1", "in2"])
def test_an_error_of_our_own_is_of_the_interface_behind_which_its_reader_is(start, quiet):
    """The next hop outside does not answer: the error is about a translated packet."""
    def inside(name, n, us, prefix, via):
        return {"name": name, "role": "internal", "device": f"net_null{n}", "addresses": [f"{us}/24"],
                "icmp-errors": name != quiet, "routes": [{"prefix": prefix, "via": via}]}

    gone, far = host("192.0.2.77"), host("100.65.0.5")
    nat = start(interfaces=[inside("in1", 0, "10.255.0.1", "100.64.0.0/16", "10.255.0.2"),
                            inside("in2", 1, "10.254.0.1", "100.65.0.0/16", "10.254.0.2"),
                            {"name": "out", "role": "external", "device": "net_null2", "addresses": ["192.0.2.2/24"],
                             "routes": [{"prefix": "0.0.0.0/0", "via": ROUTER_OUT}]}])
    in1, in2, _ = nat.sides
    in2.neighbour = host("10.254.0.2")
    nat.arp(silent=[gone])
    for name, side, sender, us in (("in1", in1, I, "10.255.0.1"), ("in2", in2, far, "10.254.0.1")):
        for p in udp(sender(5000), gone(80)), echo(sender(7), gone):
            nat.put(side, p)
            nat.wait(5)
            if name == quiet:
                nat.nothing()
            else:
                e = nat.one(side)
                assert (e.src, e.dst) == (us, sender) and quotes(e, p)
                nat.nothing()


@pytest.mark.parametrize("workers", [1, 3])
def test_several_interfaces_inside_and_outside(start, workers):
    """One NAT: who is inside where is a matter of routes, and answers may come in by any external one."""
    def interface(name, role, n, us, prefix, via):
        return {"name": name, "role": role, "device": f"net_null{n}", "addresses": [f"{us}/24"],
                "routes": [{"prefix": prefix, "via": via}]}

    nat = start(workers=workers, interfaces=[
        interface("in1", "internal", 0, "10.255.0.1", "100.64.0.0/16", "10.255.0.2"),
        interface("in2", "internal", 1, "10.254.0.1", "100.65.0.0/16", "10.254.0.2"),
        interface("out1", "external", 2, "192.0.2.2", "0.0.0.0/0", "192.0.2.1"),
        interface("out2", "external", 3, "192.0.3.2", "198.51.100.0/24", "192.0.3.1")])
    in1, in2, out1, out2 = nat.sides
    in2.neighbour, out2.neighbour = host("10.254.0.2"), host("192.0.3.1")
    a, b, far = host("100.64.0.5"), host("100.65.0.5"), host("192.88.99.1")

    def through(p, entry, exit):
        nat.put(entry, p)
        q = nat.one(exit)
        nat.nothing()
        return q

    x = {}
    for h, entry, us in (a, in1, "10.255.0.1"), (b, in2, "10.254.0.1"):
        for remote, exit in (far, out1), (S1, out2):
            for make in udp, tcp, lambda s, d: echo(s, d.address):
                p = make(h(5000), remote(80))
                q = through(p, entry, exit)
                x[h, p.proto] = src(q)
                for back in out1, out2:
                    r = through(answer(q), back, entry)
                    assert dst(r) == h(5000)
                    e = through(icmp_error(3, 1, "198.18.7.7", q.src, q, 8), back, entry)
                    assert e.dst == h and quotes(e, p)
                e = through(icmp_error(3, 3, h, r.src, r, 8), entry, exit)
                assert e.src == q.src and quotes(e, answer(q))
        nat.put(entry, udp(h(5000), far(80), ttl=1))
        e = nat.one(entry)
        assert (e.src, e.dst) == (us, h)
    # from one to the other by their external endpoints, and not without
    q = through(udp(a(5000), x[b, 17]), in1, in2)
    assert (src(q), dst(q)) == (x[a, 17], b(5000))
    e = through(icmp_error(3, 3, b, q.src, q, 8), in2, in1)
    assert (e.src, e.dst) == (x[b, 17].address, a)
    nat.refuse_out(udp(a(5), b(6)), "INTERNAL_TO_INTERNAL")
    nat.put(out1, udp(far(5), S1(6)))
    nat.nothing()
    assert nat.drops()["EXTERNAL_TO_EXTERNAL"] == 1
    # a datagram whose fragments come in by two interfaces
    parts, out = fragments(udp(far(80), x[a, 17], bytes(1000)), 400, 800), []
    for part, entry in (parts[2], out1), (parts[0], out2), (parts[1], out1):
        nat.put(entry, part)
        out += nat.take(in1)
    assert dst(reassembled(out)) == a(5000)


# ---- ports in policies, and fragments

@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_policies_by_port_decide_about_whole_datagrams(start, workers, order):
    """The ports are in the first fragment, wherever that comes."""
    nat = start(workers=workers, policies=[
        {"name": "past", "match": {"protocol": "udp", "destination-ports": [9999]}, "action": "bypass"},
        {"name": "no", "match": {"protocol": "udp", "destination-ports": ["600-700"]}, "action": "drop"},
        {"name": "home", "match": {"source": ["100.64.0.0/10"]}}])

    def through(p, entry, exit):
        parts, out = fragments(p, 400, 800), []
        for n in order:
            nat.put(entry, parts[n])
            out += nat.take(exit)
        return out

    for id, (port, seen_as) in enumerate(((9999, I), (666, None), (80, POOL))):
        out = through(udp(I(5000), S1(port), bytes(1000), id=id), nat.inside, nat.outside)
        assert out == [] if seen_as is None else reassembled(out).src in seen_as
    back = through(udp(S1(9999), I(5000), bytes(1000)), nat.outside, nat.inside)
    assert reassembled(back).dst == I
    assert nat.drops()["POLICY_DROP"] == 1 and nat.drops()["FRAG_HEAD_DROPPED"] == 2


# ---- one-to-one by protocol

@pytest.mark.parametrize("workers", [1, 3])
def test_one_to_one_mappings_of_two_protocols_may_share_an_address(start, workers):
    shared = POOL[3]
    nat = start(workers=workers, icmp=SILENT, static_mappings=[
        static(shared, J, "tcp", protocol="tcp"), static(shared, K, "udp", protocol="udp")])
    assert src(nat.out(tcp(J(5), S1(80)))) == shared(5) and src(nat.out(udp(K(5), S1(80)))) == shared(5)
    assert nat.out(udp(J(5), S1(80))).src != shared and nat.out(tcp(K(5), S1(80))).src != shared
    assert dst(nat.in_(tcp(S2(9), shared(77)))) == J(77) and dst(nat.in_(udp(S2(9), shared(77)))) == K(77)
    nat.refuse_in(echo(S2(9), shared), "ICMP_NO_SESSION")
    for p in tcp(J(5), S1(80)), udp(K(5), S1(80)):
        q = nat.out(p)
        e = nat.in_(icmp_error(3, 1, "198.18.7.7", shared, q, 8))
        assert e.dst == p.src and quotes(e, p)
    for p, receiver in (udp(J(5), shared(9)), K(9)), (tcp(K(5), shared(9)), J(9)), (udp(K(5), shared(9)), K(9)):
        q = nat.hairpin(p)
        assert dst(q) == receiver
        e = nat.hairpin(icmp_error(3, 3, q.dst, q.src, q, 8))
        assert e.dst == p.src and quotes(e, p)
