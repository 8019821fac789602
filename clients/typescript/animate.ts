// Animates a picture to a sound with a KeyVID service, and saves the MP4:
//   npm start -- dog.jpg bark.wav "dog barking" dog.mp4
// The service is at KEYVID_URL (http://127.0.0.1:8000), the key in KEYVID_API_KEY, if it asks for one.
import { File as NamedFile } from "node:buffer";
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Video = components["schemas"]["Video"];
type NewVideo = components["schemas"]["CreateVideo"];
type Problem = components["schemas"]["Problem"];

const key = process.env["KEYVID_API_KEY"];
const client = createClient<paths>({
  baseUrl: process.env["KEYVID_URL"] ?? "http://127.0.0.1:8000",
  headers: key === undefined ? {} : { Authorization: `Bearer ${key}` },
});

class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
  }
}

/** What an answer holds, or the problem that it is, as an error. */
function given<Data>(answer: { data?: Data; error?: Problem }): Data {
  if (answer.error !== undefined) throw new Refused(answer.error);
  if (answer.data === undefined) throw new Error("The answer is empty.");
  return answer.data;
}

/** A form of text fields and files. */
function form(body: object): FormData {
  const made = new FormData();
  for (const [name, value] of Object.entries(body)) {
    made.append(name, value instanceof Blob ? value : String(value));
  }
  return made;
}

/** A file to send. The document says `string` where a file stands, which is all that openapi-typescript knows. */
async function upload(path: string): Promise<string> {
  return new NamedFile([await readFile(path)], basename(path)) as unknown as string;
}

async function create(picture: string, sound: string, options: Omit<NewVideo, "input_reference" | "audio">) {
  const files = { input_reference: await upload(picture), audio: await upload(sound) };
  const answer = await client.POST("/v1/videos", {
    params: { header: { "Idempotency-Key": randomUUID() } },
    body: { ...options, ...files },
    bodySerializer: form,
  });
  return given<Video>(answer);
}

/** Polls until the video cannot change any more; `onProgress` gets it after every poll. */
async function finished(id: string, onProgress: (video: Video) => void): Promise<Video> {
  for (;;) {
    const answer = await client.GET("/v1/videos/{video_id}", { params: { path: { video_id: id } } });
    const video = given<Video>(answer);
    onProgress(video);
    if (video.status !== "queued" && video.status !== "in_progress") return video;
    await pause(Number(answer.response.headers.get("openai-poll-after-ms") ?? 1000));
  }
}

async function download(id: string): Promise<ArrayBuffer> {
  const answer = await client.GET("/v1/videos/{video_id}/content", {
    params: { path: { video_id: id } },
    parseAs: "arrayBuffer",
  });
  return given<ArrayBuffer>(answer);
}

async function main(): Promise<void> {
  const [picture, sound, prompt, output = "keyvid.mp4"] = process.argv.slice(2);
  if (picture === undefined || sound === undefined || prompt === undefined) {
    throw new Error("Usage: npm start -- PICTURE SOUND PROMPT [OUTPUT]");
  }
  const asked = await create(picture, sound, { prompt });
  const video = await finished(asked.id, ({ progress, stage }) => console.error(`${progress} % ${stage}`));
  if (video.status !== "completed") throw new Error(`${video.id} ${video.status}: ${video.error?.message ?? ""}`);
  await writeFile(output, new Uint8Array(await download(video.id)));
  console.log(output);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
