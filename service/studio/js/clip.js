// The shape of every video: its length, its frames, its keyframes and its sides.

export const FRAMES = 48;
export const FPS = 24;
export const CLIP_S = FRAMES / FPS;
export const KEYFRAMES = 12;
export const WIDTH = 512;
export const HEIGHT = 320;
export const ASPECT = WIDTH / HEIGHT;
