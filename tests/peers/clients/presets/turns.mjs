
// What the Node clients of the presets share: each line on stdin is a turn, in which all calls are made. `calls` yields what it got.
import { inspect } from "node:util";
import { createInterface } from "node:readline";

for await (const _ of createInterface({ input: process.stdin })) {
    try {
        for await (const answer of calls()) console.log("answer:", inspect(answer, { breakLength: Infinity }).slice(0, 2000).replaceAll("\n", " "));
        console.log("turn: done");
    } catch (error) {
        console.log(inspect(error));
        console.log("turn: failed");
    }
}
