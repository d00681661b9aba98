//! The table of the patterns.
//!
//! For: what is said about each, once: the command line and the pages show it. Not for: how a pattern is tried (see its page).
//! Invariant: as in the crate.

use crate::{File, Pattern};

macro_rules! files {
    ($folder:literal: $($name:literal),+) => {
        &[$(File { name: $name, text: include_str!(concat!("../../../workflows/patterns/", $folder, "/", $name)) }),+]
    };
}

/// Every pattern, the simplest first.
pub static ALL: &[Pattern] = &[
    Pattern {
        name: "pipeline",
        title: "Pipeline",
        summary: "Each stage works on what the stage before it made.",
        fits: &[
            "the work is a fixed sequence, and each stage needs only what the one before it made",
            "a late stage may fail for a while, and the early ones should not be paid for again",
        ],
        instead: &[
            "the stages do not depend on each other: [fan-out](fan-out.md) does them at the same time",
            "the sequence is only known while it runs: [orchestrator and workers](orchestrator-workers.md)",
        ],
        start: &["python agent.py &", "consort run pipeline.yaml -i text='It rained. We stayed in.'"],
        files: files!("pipeline": "pipeline.yaml", "agent.py"),
    },
    Pattern {
        name: "fan-out",
        title: "Fan-out and fan-in",
        summary: "The same question goes to many at the same time, and one answer is made of what came.",
        fits: &[
            "the parts are independent of each other, and waiting for the slowest is acceptable",
            "an answer with a part missing is better than none, as long as it says what is missing",
        ],
        instead: &[
            "the parts are pieces of one large input: [map and reduce](map-reduce.md)",
            "the answers compete and one should win: [voting](voting.md) or [contract net](contract-net.md)",
        ],
        start: &[
            "python agent.py &",
            "consort run fan-out.yaml -i question=weather -i sources=vienna -i sources=down -i sources=lisbon",
        ],
        files: files!("fan-out": "fan-out.yaml", "agent.py"),
    },
    Pattern {
        name: "map-reduce",
        title: "Map and reduce",
        summary: "A large input is cut into chunks, each chunk is worked on by itself, and the results become one.",
        fits: &[
            "the input is too much for one agent, and the result of a chunk does not depend on other chunks",
            "agents come and go, and a chunk that was lost should be all that is done again",
        ],
        instead: &[
            "each part is another question: [fan-out](fan-out.md)",
            "a result says what has to be looked at next: [orchestrator and workers](orchestrator-workers.md) or [blackboard](blackboard.md)",
        ],
        start: &[
            "python agent.py &",
            "consort run map-reduce.yaml -i texts='to be or not to be' -i texts='to do' -i texts='or not'",
        ],
        files: files!("map-reduce": "map-reduce.yaml", "agent.py"),
    },
    Pattern {
        name: "saga",
        title: "Saga",
        summary: "Steps that cannot be one transaction are done one after the other; where one fails, those before it are \
                  undone in reverse order.",
        fits: &[
            "several outside systems must end up consistent, and no transaction spans them",
            "each step has something that undoes it, such as a cancellation or a refund",
        ],
        instead: &[
            "everything is in [shared state](../state.md): one transaction is simpler, and nothing is ever half done",
            "a step cannot be undone: put it last, or have a person approve before it",
        ],
        start: &["python agent.py &", "consort run saga.yaml -i trip=lisbon -i broken=car"],
        files: files!("saga": "saga.yaml", "agent.py"),
    },
    Pattern {
        name: "choreography",
        title: "Choreography by events",
        summary: "Workflows react to each other's events; none of them knows the others, and none has the whole plan.",
        fits: &[
            "the parts belong to different teams, and each should change its own without asking",
            "further reactions to the same events are expected",
        ],
        instead: &[
            "one place must know how far a case is, or undo what was done: [saga](saga.md)",
            "every reader gets all events and takes its time: [publish and subscribe](publish-subscribe.md)",
        ],
        start: &["sh setup.sh", "consort run place-order.yaml -i order=o-1 -i card=gold"],
        files: files!(
            "choreography": "place-order.yaml", "reserve-stock.yaml", "take-payment.yaml", "release-stock.yaml",
            "ship-order.yaml", "setup.sh"
        ),
    },
    Pattern {
        name: "orchestrator-workers",
        title: "Orchestrator and workers",
        summary: "One agent decides, from what others find, what is done next; others do it.",
        fits: &[
            "what has to be done comes out only while it is done",
            "one agent should be responsible for the result, and many may work for it",
        ],
        instead: &[
            "the steps are known before: a workflow in YAML, such as a [pipeline](pipeline.md), shows them to everyone",
            "no agent should decide for the others: [blackboard](blackboard.md) or [choreography](choreography.md)",
        ],
        start: &[
            "sh setup.sh",
            "python agent.py orchestrator &",
            "python agent.py worker &",
            "consort run orchestrate.yaml -i topic=log",
        ],
        files: files!("orchestrator-workers": "orchestrate.yaml", "agent.py", "setup.sh"),
    },
    Pattern {
        name: "publish-subscribe",
        title: "Publish and subscribe",
        summary: "A publisher does not know its readers; each reader gets every event that it subscribes to, at its own pace, \
                  until it has acknowledged it.",
        fits: &[
            "several readers need the same facts, and come and go",
            "a reader may be slow or away for a while, and must not miss anything",
        ],
        instead: &[
            "the publisher needs an answer: a workflow that calls an agent",
            "only the latest value counts: a key of [shared state](../state.md) and a watch",
        ],
        start: &["sh setup.sh", "consort run announce.yaml -i topic=sport -i title='Vienna wins'"],
        files: files!("publish-subscribe": "announce.yaml", "archive.yaml", "reader.py", "setup.sh"),
    },
    Pattern {
        name: "blackboard",
        title: "Blackboard",
        summary: "Agents work on a shared board: each is handed what its pattern of keys and its condition let through, writes \
                  what it finds, and so gives others work; when nothing is open any more, that is noticed.",
        fits: &[
            "it cannot be said in advance who contributes what, and in which order",
            "contributions give rise to further ones, and it must be known when it is over",
        ],
        instead: &[
            "one agent should decide what is done next: [orchestrator and workers](orchestrator-workers.md)",
            "the way is known: [pipeline](pipeline.md), [map and reduce](map-reduce.md)",
        ],
        start: &["sh setup.sh", "python agent.py &", "consort run post.yaml -i text='to be or not to be that is it'"],
        files: files!(
            "blackboard": "post.yaml", "split.yaml", "count.yaml", "finish.yaml", "agent.py", "setup.sh"
        ),
    },
    Pattern {
        name: "contract-net",
        title: "Contract net",
        summary: "A job is announced, agents bid, the best bid gets the job, and the next best where it fails.",
        fits: &[
            "agents differ in price, load or skill, and only they know by how much",
            "an agent that has the job may fail, and another one should do it then",
        ],
        instead: &[
            "all agents are alike: a `capability` alone finds one that is free",
            "the answer matters, and not who gives it: [voting](voting.md)",
        ],
        start: &["python agent.py ann=9 bob=7! cy=8 &", "consort run award.yaml -i job=roof"],
        files: files!("contract-net": "award.yaml", "agent.py"),
    },
    Pattern {
        name: "voting",
        title: "Voting",
        summary: "Several agents judge the same question, and a rule makes one decision of it, though some lie or are silent.",
        fits: &[
            "a single judgement is not reliable enough, and several are worth their price",
            "who disagreed, and why, should be on record",
        ],
        instead: &[
            "the voters should hear each other's reasons: [debate](debate.md)",
            "people or programs vote, over days: a [ballot](../consensus.md)",
        ],
        start: &[
            "python agent.py ann bob cy dan eve &",
            "consort run vote.yaml -i question='Is the build fit to ship?'",
        ],
        files: files!("voting": "vote.yaml", "agent.py"),
    },
    Pattern {
        name: "debate",
        title: "Debate",
        summary: "Agents vote, read the reasons of all, and vote again, until they agree or the rounds are used up.",
        fits: &[
            "each agent sees only a part, and the reasons of the others can change its mind",
            "an agreement is worth several rounds of calls",
        ],
        instead: &[
            "one round is enough: [voting](voting.md)",
            "one agent can have all the material: have it decide alone",
        ],
        start: &["python agent.py &", "consort run debate.yaml -i question='What makes the service slow?'"],
        files: files!("debate": "debate.yaml", "agent.py"),
    },
    Pattern {
        name: "leader",
        title: "Leader with stand-by",
        summary: "Of several programs that could, one acts; where it dies, another one takes over, and what the old one still \
                  tries is refused.",
        fits: &[
            "something must be done by one program at a time, such as feeding a device or an outside account",
            "it must continue within seconds when that program or its machine dies",
        ],
        instead: &[
            "the work is tasks: workers need no leader, a task is given to one instance at a time anyway",
            "a run needs to be alone for a while: a step with [`with_lock`](../workflow-language.md#with_lock)",
        ],
        start: &["consort locks run leader --wait 1h -- sh lead.sh ann"],
        files: files!("leader": "duty.yaml", "lead.sh"),
    },
    Pattern {
        name: "circuit-breaker",
        title: "Circuit breaker",
        summary: "A service that has failed several times in a row is left alone for a while; then one call tries whether it is back.",
        fits: &[
            "calls to a service that is down cost time or money, or keep it from coming back",
            "there is something else to do meanwhile, such as answering from a cache",
        ],
        instead: &[
            "single calls fail now and then: `retry` with a growing pause",
            "the service is up, and must not be called too often: a [quota](../operating-agents.md)",
        ],
        start: &["sh setup.sh", "python agent.py &", "consort run guarded.yaml -i service=billing"],
        files: files!("circuit-breaker": "guarded.yaml", "tell.yaml", "agent.py", "setup.sh"),
    },
    Pattern {
        name: "state-machine",
        title: "State machine",
        summary: "A thing moves between named states by declared moves only, and two that move it at the same time never both do.",
        fits: &[
            "many workflows, agents or people change the same thing, each at its time",
            "a move that is not allowed must be refused, no matter who tries it",
        ],
        instead: &[
            "one run owns the thing from beginning to end: its steps are its states",
            "moves of several things belong together: one [transaction](../state.md#transactions) over their keys",
        ],
        start: &["consort run move.yaml -i order=o-1 -i move=place"],
        files: files!("state-machine": "move.yaml"),
    },
];
