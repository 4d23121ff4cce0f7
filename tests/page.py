"""What a person does on the page, in a real Chromium. Asks the test that started it for what happens around the page: prints
`want WORD`, and goes on when a line comes back. Ends with 0 if everything was as it should be."""

import re
import shutil
import sys
from urllib.parse import quote

from playwright.sync_api import expect, sync_playwright

ADDRESS, TOKEN = sys.argv[1], sys.argv[2]
DUD, GPT4, GPT35 = "/azure/dud/", "/azure/gpt4/", "/azure/gpt35turbo/"
SCRIPT = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


def want(word):
    print(f"want {word}", flush=True)
    return sys.stdin.readline().strip()


def command(page, path, body=None):
    """A command of an operator that is not given on the page."""
    answer = page.request.post(f"{ADDRESS}api/v1/{path}", data=body or {}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.ok, (path, answer.text())


def share(page, router):
    return page.locator(".target", has=page.get_by_text(router, exact=True)).locator(".number")


def card(page, router):
    return page.locator(f'article[data-router="{router}"]')


def strip(page, router):
    return page.locator(".strip", has=page.get_by_text(router, exact=True)).locator(".track")


def words(page, router):
    """What the time line of a router shows, from left to right."""
    return [one.removeprefix("fill-") for one in strip(page, router).locator("i").evaluate_all("all => all.map(one => one.className)")]


def refreshed(page, times=3):
    """The page has shown this many new statuses."""
    for _ in range(times):
        with page.expect_response(lambda answer: answer.url.endswith("/api/v1/status")):
            pass
    page.evaluate("new Promise(requestAnimationFrame)")


def odd(complaints, meant="never"):
    """What the browser complained of, without the refusals that were meant."""
    return [one for one in complaints if not re.search(rf"status of 40[01]|{meant}", one)]


def check(page, complaints):
    page.goto(ADDRESS)
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("article")).to_have_count(3)
    expect(share(page, DUD)).to_have_text("33.3 %")

    # The failing router goes, its share with it, and returns.
    want("fail")
    expect(card(page, DUD)).to_contain_text("disabled")
    expect(card(page, DUD)).to_contain_text("s left")
    expect(share(page, DUD)).to_have_text("0.0 %")
    expect(page.locator("#changes li").first).to_contain_text(DUD)
    expect(card(page, DUD)).to_contain_text("probation")
    # One call at a time goes there: no share, and the others have all of it.
    expect(share(page, DUD)).to_have_text("probes")
    expect(share(page, GPT4)).to_have_text("50.0 %")
    want("prove")
    expect(card(page, DUD).locator(".tags")).to_have_text("enabled")
    expect(strip(page, DUD).locator(".fill-disabled").first).to_be_attached()
    # Calls and failures are counted on the same side; times below the first step are not known more precisely.
    expect(card(page, DUD).locator(".everywhere")).to_contain_text(re.compile("all replicas.*calls2.*failures1.*not blamed0"))
    expect(card(page, DUD).locator(".everywhere")).to_contain_text("p50≤ 5 ms")
    expect(card(page, DUD).locator(".here")).to_contain_text("this replica")
    # A page that is opened only now shows the same time line.
    late = page.context.new_page()
    late.goto(ADDRESS)
    expect(strip(late, DUD).locator(".fill-disabled").first).to_be_attached()
    assert words(late, DUD) == ["enabled", "disabled", "probation", "enabled"], words(late, DUD)
    assert words(late, DUD) == words(page, DUD), words(page, DUD)
    assert words(late, GPT4) == ["enabled"], words(late, GPT4)
    late.close()

    # Draining needs the token, the right one, and a confirmation.
    card(page, GPT4).get_by_role("button", name="Drain").click()
    expect(page.locator("#trouble")).to_contain_text("operators' token")
    expect(page.locator("#token")).to_be_focused()
    page.locator("#token").fill("a-wrong-token-altogether")
    card(page, GPT4).get_by_role("button", name="Drain").click()
    page.locator("#go").click()
    expect(page.locator("#trouble")).to_contain_text("the operators' token is wrong")
    refreshed(page)
    expect(page.locator("#trouble")).to_contain_text("the operators' token is wrong")
    page.locator("#dismiss").click()
    expect(page.locator("#trouble")).to_be_hidden()
    page.locator("#token").fill(TOKEN)

    # By keyboard alone: Escape and Cancel leave everything as it was, Enter in a field does it.
    card(page, GPT4).get_by_role("button", name="Drain").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#confirm")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).not_to_be_visible()
    card(page, GPT4).get_by_role("button", name="Drain").click()
    page.locator("#cancel").click()
    expect(page.locator("#confirm")).not_to_be_visible()
    refreshed(page)
    expect(card(page, GPT4).locator(".tags")).to_have_text("enabled")
    card(page, GPT4).get_by_role("button", name="Drain").focus()
    page.keyboard.press("Enter")
    page.locator("#reason").fill(f"new keys {SCRIPT}")
    page.keyboard.press("Enter")
    # What came of it is where the eye is, however far down that is, and stays.
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("#done")).to_contain_text(f"drain {GPT4}: done on 1 replica")
    expect(page.locator("#done")).to_be_in_viewport()
    refreshed(page)
    expect(page.locator("#done")).to_be_in_viewport()
    expect(card(page, GPT4)).to_contain_text("drained")
    expect(card(page, GPT4)).to_contain_text(SCRIPT)
    # The button of the command is gone; the next one of the same card has the focus.
    expect(card(page, GPT4).get_by_role("button", name="Resume")).to_be_focused()
    expect(share(page, GPT4)).to_have_text("0.0 %")
    assert GPT4 not in want("decide"), "a drained router was chosen"
    expect(strip(page, GPT4).locator(".fill-drained")).to_be_attached()
    card(page, GPT4).get_by_role("button", name="Resume").click()
    page.locator("#go").click()
    expect(share(page, GPT4)).to_have_text("33.3 %")
    late = page.context.new_page()
    late.goto(ADDRESS)
    expect(strip(late, GPT4).locator(".fill-drained")).to_be_attached()
    assert words(late, GPT4) == words(page, GPT4) == ["enabled", "drained"], words(page, GPT4)
    late.close()

    # A time that is none leaves what was typed where it can be corrected.
    card(page, GPT4).get_by_role("button", name="Drain").click()
    page.locator("#reason").fill("maintenance")
    page.locator("#for").fill("banana")
    page.keyboard.press("Enter")
    expect(page.locator("#refused")).to_contain_text("must be a time such as 30m")
    expect(page.locator("#reason")).to_have_value("maintenance")
    expect(page.locator("#for")).to_be_focused()
    page.locator("#cancel").click()
    card(page, GPT4).get_by_role("button", name="Drain").click()
    expect(page.locator("#refused")).to_be_hidden()
    page.locator("#cancel").click()

    # What a screen reader says of a time line is in order, and each part has its end.
    said = strip(page, GPT4).get_attribute("aria-label")
    assert re.fullmatch(r"enabled since [\d:]+, drained from [\d:]+ to [\d:]+", said), said
    said = strip(page, DUD).get_attribute("aria-label")
    moment = r"from [\d:]+ to [\d:]+"
    assert re.fullmatch(rf"enabled {moment}, disabled {moment}, probation {moment}, enabled since [\d:]+", said), said

    # A weight of an operator says until when it holds, who set it and why.
    command(page, "pools/%2Fazure%2F/weight", {"router": GPT4, "weight": 1, "for": "1h", "reason": "promo"})
    expect(page.locator(".target", has_text=GPT4)).to_contain_text(re.compile(r"weight 1 until .+, set by the HTTP API.*: promo"))

    # Calls that got no route: what the gateway served by itself, and what the relay answered itself.
    for router in (GPT35, GPT4, DUD):
        command(page, f"routers/{quote(router, safe='')}/drain")
    expect(page.locator("#pools")).to_contain_text("all targets down or drained")
    expect(page.locator("#changes li", has_text="all disabled or drained")).to_have_count(1)
    want("pass")
    passed = page.locator("#stream tr", has_text="nothing")
    expect(passed).to_have_count(2)
    expect(passed.nth(1)).to_contain_text(re.compile("nothing \\(served by /azure/\\).*201.*nothing may serve"))
    expect(passed.nth(0)).to_contain_text(re.compile("nothing.*503.*none.*the relay's own answer: no target"))
    # So does a page that is opened only now.
    late = page.context.new_page()
    late.goto(ADDRESS)
    expect(late.locator("#stream tr", has_text="nothing")).to_have_count(2)
    expect(late.locator("#stream tr", has_text="nothing").nth(1)).to_contain_text("201")
    late.locator("#by-router").select_option("/azure/")
    expect(late.locator("#stream tr:visible")).to_have_count(1)
    # Of the calls that any replica gave no route each decision gets the nearest, in whatever order they are read.
    joined = late.evaluate("""() => {
        const at = (ms) => new Date(1e12 + ms).toISOString(), pool = "/x/";
        [10, 30].forEach((ms, number) => decided({ at: at(ms), number: `x${number}`, pool, why: "nothing may serve" }));
        const call = (id, ms) => called({ id, at: at(ms + 5), ms: 5, via: "gateway", pool, router: pool, session: id, status: 200,
            class: "success", attempts: [{ router: pool, status: 200, class: "success", ms: 5 }] });
        call("first", 12); call("first", 12); call("others", 22); call("second", 31);
        call("nearer", 10); call("first", 12); call("of another time", 5000);
        return ["x0", "x1"].map((number) => rows.get(`pass ${number}`).session);
    }""")
    assert joined == ["nearer", "second"], joined
    late.close()
    for router in (GPT35, GPT4, DUD):
        command(page, f"routers/{quote(router, safe='')}/resume")

    # What would have been chosen is found by its router, and so is what served.
    command(page, "mode", {"mode": "observe"})
    want("decide")
    expect(page.locator("#stream tr", has_text="would be").first).to_be_attached()
    page.locator("#by-router").select_option(GPT4)
    found = page.locator("#stream tr:visible td:nth-child(2)", has_text="would be").all_text_contents()
    assert found and all(one == f"would be {GPT4}" for one in found), found
    page.locator("#by-router").select_option("")
    command(page, "mode", {"mode": "balance"})

    # A drain that was renewed five minutes later began when it was first made.
    began = page.evaluate("""() => {
        const minutes = (ago) => new Date(Date.now() - 60000 * ago).toISOString(), before = [past, pastIsWhole, status];
        past = [{ about: "/a/", what: "drained", drained: {}, at: minutes(6) }, { about: "/a/", what: "drained", drained: {}, at: minutes(1) }];
        [pastIsWhole, status] = [true, { ...status, started: minutes(9) }];
        const parts = timeline({ router: "/a/", state: "enabled", drained: { since: minutes(1) } }, Date.now());
        [past, pastIsWhole, status] = before;
        return parts.filter((one) => one.word === "drained").map((one) => Math.round((Date.now() - one.from) / 60000));
    }""")
    assert began == [6], began

    # A moment of another day has its date.
    today, other = page.evaluate("[clock(new Date()), clock(new Date(2026, 0, 31, 12))]")
    assert re.fullmatch(r"[\d:]+", today) and "31" in other and "12:00:00" in other, (today, other)

    # Decisions that come while the page still reads those before it stand above them.
    late = page.context.new_page()

    def hold(route):
        answer = route.fetch()
        late.evaluate("() => { window.came = new Promise((done) => events.addEventListener('decision', () => done(true))); }")
        want("decide")
        late.evaluate("came")
        route.fulfill(response=answer)

    late.route("**/api/v1/decisions", hold)
    late.goto(ADDRESS)
    expect(late.locator("#stream tr").nth(40)).to_be_attached()
    moments = late.evaluate("""() => {
        const at = new Map([...rows.values()].map((row) => [row.element, Date.parse(row.at)]));
        return [...document.querySelectorAll("#stream tr")].map((row) => at.get(row));
    }""")
    assert moments == sorted(moments, reverse=True), moments
    late.close()

    # What comes from outside stays text.
    want("inject")
    expect(page.locator("#stream")).to_contain_text("<script>window.hacked")
    assert page.locator("main script, #stream img").count() == 0
    assert page.evaluate("window.hacked") is None

    # Paused, the list stands still; filtered, it shows only what is asked for.
    page.locator("#pause").click()
    rows = page.locator("#stream tr").count()
    want("decide")
    page.wait_for_timeout(700)
    assert page.locator("#stream tr").count() == rows
    page.locator("#pause").click()
    expect(page.locator("#stream tr")).not_to_have_count(rows)
    page.locator("#by-router").select_option(DUD)
    shown = page.locator("#stream tr:visible td:nth-child(2)").all_text_contents()
    assert shown and all(DUD in one for one in shown), shown
    page.locator("#by-router").select_option("")
    page.locator("#by-status").fill("4xx")
    expect(page.locator("#stream tr:visible")).to_have_count(1)
    for wrong in ("foo", "600", "xx", "4xxx"):
        page.locator("#by-status").fill(wrong)
        expect(page.locator("#filter-fault")).to_contain_text(f"“{wrong}” is not a status")
        expect(page.locator("#stream tr:visible")).to_have_count(page.locator("#stream tr").count())
    page.locator("#by-status").fill("")
    expect(page.locator("#filter-fault")).to_be_hidden()

    # Paused, changes are shown also where the stream was interrupted meanwhile.
    assert not odd(complaints), complaints
    complaints.clear()
    failures = page.locator("#changes li", has_text=" disabled ")
    listed = failures.count()
    page.locator("#pause").click()
    page.route("**/api/v1/events", lambda route: route.abort())
    page.evaluate("events.close()")
    want("fail")
    expect(card(page, DUD)).to_contain_text("disabled")
    # A request that was held for its route at this moment would be left hanging.
    page.unroute_all(behavior="wait")
    expect(failures).to_have_count(listed + 1)
    page.locator("#pause").click()
    assert not odd(complaints, "net::ERR_FAILED"), complaints
    complaints.clear()

    # The broker goes and comes back, as another replica.
    before = page.locator("#replica").inner_text()
    assert not odd(complaints), complaints
    want("stop")
    expect(page.locator("#trouble")).to_contain_text("has not answered since")
    want("start")
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#replica")).not_to_have_text(before)
    expect(page.locator("#trouble")).to_be_hidden()
    # What happened before its stream was open again is there too.
    expect(page.locator("#stream tr")).to_have_count(40)
    # While it was away the browser said so, and nothing else.
    assert not odd(complaints, r"net::ERR_"), complaints


def main():
    name = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])))
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=name, args=["--no-sandbox", "--disable-gpu"])
        for width in (1200, 390):
            page = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce").new_page()
            complaints = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
            if width == 1200:
                check(page, complaints)
            else:
                page.goto(ADDRESS)
                expect(page.locator("article")).to_have_count(3)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, "wider than a phone"
                # A filter without its column is hidden with it.
                expect(page.locator("th", has_text="session")).to_be_hidden()
                expect(page.locator("#by-session")).to_be_hidden()
                assert not complaints, complaints
        browser.close()


main()
print("ended", flush=True)
