# The server, without PyTorch: docker build -t digits .
#
#   docker run --read-only --tmpfs /tmp -p 8000:8080 -v ./models/digit-classifier:/opt/ml/model:ro digits
#   docker run --read-only --tmpfs /tmp -p 8000:8080 -e DIGITS_MODEL=s3://bucket/prefix -e AWS_... digits
FROM python:3.11-slim

WORKDIR /opt/digits
COPY requirements*.txt constraints.txt ./
RUN pip install --no-cache-dir --no-compile -r requirements-serve.txt
COPY digits digits
COPY serving serving
RUN python -m compileall -q digits serving
RUN install -m 755 serving/serve /usr/local/bin/serve
ENV PYTHONPATH=/opt/digits PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
CMD ["serve"]
