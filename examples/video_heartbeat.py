"""A long run that keeps its lease and notices that it was cancelled; the worker is a thread."""

import os
import threading
import time

from simpleworkflow import Client, IntentPoller, WorkflowExecutor, WorkflowRun

STEPS = 10
under_way = threading.Event()


class VideoExecutor(WorkflowExecutor):
    """Processes a video step by step."""

    def execute(self, run: WorkflowRun) -> dict[str, object]:
        """Do all steps, unless the run is cancelled in between."""
        video = run.payload["video"]
        for step in range(1, STEPS + 1):
            time.sleep(0.05)  # the work
            # The worker renews leases by itself; a call of one's own asks the store here and now.
            run.heartbeat(30)
            if run.is_cancelled():
                print(f"{video}: cancelled in step {step}, cleaning up")
                run.raise_if_cancelled()
            if video == "long.mp4" and step == 3:
                under_way.set()
        print(f"{video}: all {STEPS} steps done")
        return {"video": video, "steps": STEPS}


def main() -> None:
    """Process one video to its end, and cancel another while it is being processed."""
    url = os.getenv("DATABASE_URL", "memory://video_heartbeat")
    with Client(url, auto_migrate=True) as client:
        poller = IntentPoller(url, ["video.%"], worker_id="video-worker", poll_interval=0.2)
        poller.register_executor("video.process.v1", VideoExecutor())
        short = client.submit("video.process.v1", {"video": "short.mp4"}, priority=1)
        long = client.submit("video.process.v1", {"video": "long.mp4"})

        thread = threading.Thread(target=poller.start)
        thread.start()
        under_way.wait(60)
        client.cancel(long.id)
        poller.stop()  # waits for the executor at work
        thread.join()

        for submitted in (short, long):
            run = client.get(submitted.id)
            print(run.payload["video"], run.status, [e.type.value for e in client.events(run.id)])


if __name__ == "__main__":
    main()
