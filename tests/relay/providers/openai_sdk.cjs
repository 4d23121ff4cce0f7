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

async function useTools(client) {
    const first = (await client.chat.completions.create({ model: "m", messages, tools })).choices[0].message;
    const results = first.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
    const last = await client.chat.completions.create({ model: "m", messages: [...messages, first, ...results], tools });
    return `${called(first.tool_calls)} ${last.choices[0].message.content}`;
}

async function streamTools(client) {
    const completion = await client.chat.completions.stream({ model: "m", messages, tools }).finalChatCompletion();
    return called(completion.choices[0].message.tool_calls);
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
        return JSON.stringify((await client.embeddings.create({ model: "m", input: "hi" })).data[0].embedding);
    } catch (error) {
        if (error instanceof NotFoundError) return "NotFoundError";
        throw error;
    }
}

async function main() {
    for (const name of names) {
        // Models that make embeddings make nothing else.
        const acts = name.startsWith("embeddings") ? [embeddings] : [chat, stream, useTools, streamTools, refused, embeddings];
        for (const act of acts) {
            const said = await act(clientOf(name)).catch((error) => `failed ${error}`);
            console.log(name, act.name, said);
        }
    }
    const models = [];
    for await (const model of clientOf("all").models.list()) models.push(model.id);
    console.log("models", ...models);
    const unknown = await clientOf("all").chat.completions.create({ model: "gpt-none", messages }).catch((error) => error);
    console.log("unknown", unknown instanceof NotFoundError, unknown.code, unknown.param, unknown.type);
}

main();
