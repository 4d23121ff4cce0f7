// What a user of OpenAI's SDK for Node.js does, at each address: a line for each.

const { OpenAI, BadRequestError, NotFoundError } = require("openai");

const [relay, ...names] = process.argv.slice(2);
const messages = [{ role: "user", content: "hi" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const tools = [{ type: "function", function: { name: "weather", parameters } }];

const called = (calls) => calls.map((call) => `${call.function.name}(${JSON.parse(call.function.arguments).city})`).join(" ");
const clientOf = (name) => new OpenAI({ baseURL: `${relay}/${name}/`, apiKey: "of-the-client", maxRetries: 0 });

async function chat(client) {
    const answer = await client.chat.completions.create({ model: "m", messages });
    return `${answer.choices[0].message.content} ${answer.usage.total_tokens}`;
}

async function stream(client) {
    const parts = await client.chat.completions.create({ model: "m", messages, stream: true, stream_options: { include_usage: true } });
    let text = "", used;
    for await (const part of parts) {
        used = part.usage ?? used;
        text += part.choices.map((choice) => choice.delta.content ?? "").join("");
    }
    return `${text} ${used.total_tokens}`;
}

async function use_tools(client) {
    const first = (await client.chat.completions.create({ model: "m", messages, tools })).choices[0].message;
    const results = first.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
    const last = await client.chat.completions.create({ model: "m", messages: [...messages, first, ...results], tools });
    return `${called(first.tool_calls)} ${last.choices[0].message.content}`;
}

async function stream_tools(client) {
    const completion = await client.chat.completions.stream({ model: "m", messages, tools }).finalChatCompletion();
    return called(completion.choices[0].message.tool_calls);
}

async function schema(client) {
    const format = {
        type: "json_schema",
        json_schema: {
            name: "Person",
            strict: true,
            schema: {
                type: "object",
                properties: { name: { type: "string" }, age: { type: "integer" } },
                required: ["name", "age"],
                additionalProperties: false,
            },
        },
    };
    const answer = await client.chat.completions.parse({ model: "m", messages, response_format: format });
    const person = JSON.parse(answer.choices[0].message.content);
    return `${person.name} ${person.age}`;
}

// A conversation that began at OpenAI: its answers as they came, with what was called and what came of it.
async function history(client) {
    const calls = [
        { id: "call_1", type: "custom", custom: { name: "shell", input: "ls" } },
        { id: "call_2", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } },
    ];
    const first = { role: "assistant", content: null, refusal: null, annotations: [], audio: null, function_call: null, tool_calls: calls };
    const results = calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "ok" }));
    const said = { role: "assistant", content: "Sunny.", refusal: null, annotations: [] };
    const asked = { model: "m", messages: [...messages, first, ...results, said, ...messages], tools };
    const { data, response } = await client.chat.completions.create(asked).withResponse();
    return `${called(data.choices[0].message.tool_calls)}; ${response.headers.get("X-Broker-Dropped") ?? "None"}`;
}

async function refused(client) {
    try {
        await client.chat.completions.create({ model: "m", messages: [] });
    } catch (error) {
        if (error instanceof BadRequestError) return "BadRequestError";
        throw error;
    }
}

async function embeddings(client) {
    try {
        return `[${(await client.embeddings.create({ model: "m", input: "hi" })).data[0].embedding.join(", ")}]`;
    } catch (error) {
        if (error instanceof NotFoundError) return "NotFoundError";
        throw error;
    }
}

async function main() {
    for (const name of names) {
        // Models that make embeddings make nothing else.
        const acts = name.startsWith("embeddings") ? [embeddings] : [chat, stream, use_tools, stream_tools, schema, history, refused, embeddings];
        for (const act of acts) {
            // Converse takes schemas of models that know them; the fake one answers with its usual text.
            if (act === schema && name === "converse") continue;
            const said = await act(clientOf(name)).catch((error) => `failed ${error}`);
            console.log(name, act.name, said);
        }
    }
    const models = [];
    for await (const model of clientOf("all").models.list()) models.push(model.id);
    console.log("models", ...models);
    for (const model of models) {
        if (model.includes("embed")) {
            const answer = await clientOf("all").embeddings.create({ model, input: ["hi", "ho"] });
            console.log(model, `[${answer.data[1].embedding.join(", ")}]`);
        } else {
            console.log(model, (await clientOf("all").chat.completions.create({ model, messages })).choices[0].message.content);
        }
    }
    const unknown = await clientOf("all").chat.completions.create({ model: "gpt-none", messages }).catch((error) => error);
    if (!(unknown instanceof NotFoundError)) throw unknown;
    console.log("unknown", unknown.code, unknown.param, unknown.type);
}

main();
